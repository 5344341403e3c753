-- How long what is due has been waiting, in seconds: `edges` are the lower ends of the classes, of each of which `most`
-- are counted, along idx_jobs_status_scheduled: no other index has that order.
SELECT class.number, counted.jobs
FROM (
    SELECT number, edge, lead(edge) OVER (ORDER BY number) AS following
    FROM unnest(%(edges)s::float8[]) WITH ORDINALITY AS edges (edge, number)
) AS class
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM background_jobs AS job
        WHERE job.status = 'pending'
          AND job.scheduled_for <= now() - class.edge * interval '1 second'
          AND job.scheduled_for > CASE
              WHEN class.following IS NULL THEN '-infinity'
              ELSE now() - class.following * interval '1 second'
          END
        ORDER BY job.status, job.scheduled_for
        LIMIT %(most)s
    ) AS jobs
) AS counted
ORDER BY class.number
