-- Pending jobs by type, each type counted up to a bound along idx_jobs_claim. The types are found by one index probe
-- each, as in pending_types.sql.
WITH RECURSIVE found AS (
    (
        SELECT job_type, 1 AS place FROM background_jobs
        WHERE status = 'pending'
        ORDER BY job_type, priority DESC, scheduled_for LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT job.job_type FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.job_type > found.job_type
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for LIMIT 1
    ), found.place + 1
    FROM found
    WHERE found.job_type IS NOT NULL AND found.place < %(most)s
)
SELECT found.job_type, counted.jobs
FROM found
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM background_jobs AS job
        -- An array of one and the order of that index: see claim_jobs.sql. Else all types' jobs are read for each type.
        WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[found.job_type])
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for
        LIMIT %(counted)s
    ) AS bounded
) AS counted
WHERE found.job_type IS NOT NULL
