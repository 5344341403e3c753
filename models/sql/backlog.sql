-- What waits, by job type and priority: from lane to lane by one probe each (a loose index scan over idx_jobs_claim), and
-- of each lane `most` counted of what is due and of what is scheduled. The head of a lane is its oldest. Arrays of one,
-- and an order that only that index has: see claim_jobs.sql. Else all of a type may be read for each of its lanes.
WITH RECURSIVE lane AS (
    (
        SELECT job_type, priority FROM background_jobs
        WHERE status = 'pending' ORDER BY job_type, priority DESC, scheduled_for LIMIT 1
    )
    UNION ALL
    SELECT following.job_type, following.priority
    FROM lane
    CROSS JOIN LATERAL (/* next_lane */
    ) AS following
)
SELECT
    lane.job_type,
    lane.priority,
    due.jobs AS due,
    scheduled.jobs AS scheduled,
    extract(epoch FROM now() - oldest.scheduled_for)::float8 AS oldest_due_seconds
FROM lane
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority = lane.priority
          AND job.scheduled_for <= now()
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for
        LIMIT %(most)s
    ) AS jobs
) AS due
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority = lane.priority
          AND job.scheduled_for > now()
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for
        LIMIT %(most)s
    ) AS jobs
) AS scheduled
LEFT JOIN LATERAL (
    SELECT job.scheduled_for FROM background_jobs AS job
    WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority = lane.priority
      AND job.scheduled_for <= now()
    ORDER BY job.job_type, job.priority DESC, job.scheduled_for LIMIT 1
) AS oldest ON true
ORDER BY lane.job_type, lane.priority DESC
