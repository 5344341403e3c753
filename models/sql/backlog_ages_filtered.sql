-- As backlog_ages.sql, for some job types or priorities: lane by lane along idx_jobs_claim: see backlog.sql.
SELECT class.number, least(sum(counted.jobs), %(most)s)::bigint
FROM (
    SELECT number, edge, lead(edge) OVER (ORDER BY number) AS following
    FROM unnest(%(edges)s::float8[]) WITH ORDINALITY AS edges (edge, number)
) AS class
CROSS JOIN unnest(%(job_types)s::text[]) AS known (job_type)
CROSS JOIN unnest(%(priorities)s::int[]) AS lane (priority)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[known.job_type]) AND job.priority = lane.priority
          AND job.scheduled_for <= now() - class.edge * interval '1 second'
          AND job.scheduled_for > CASE
              WHEN class.following IS NULL THEN '-infinity'
              ELSE now() - class.following * interval '1 second'
          END
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for
        LIMIT %(most)s
    ) AS jobs
) AS counted
GROUP BY class.number
ORDER BY class.number
