-- The lanes that have pending jobs: a lane is a job type at one priority. Its head is one probe of idx_jobs_claim, so
-- neither a held type with 200,000 rows nor jobs scheduled for next week cost anything, and nothing is sorted.
-- due_in: seconds until the head is due, 0 or less when it is.
SELECT
    known.job_type,
    step.priority,
    extract(epoch FROM head.scheduled_for - now())::float8 AS due_in,
    coalesce(declared.max_running IS NOT NULL OR declared.starts_per_second IS NOT NULL, false) AS limited
FROM unnest(%(job_types)s::text[]) AS known (job_type)
LEFT JOIN job_types AS declared ON declared.job_type = known.job_type
CROSS JOIN generate_series(10, 1, -1) AS step (priority)
CROSS JOIN LATERAL (
    SELECT job.scheduled_for
    FROM background_jobs AS job
    WHERE job.status = 'pending'
      -- An array of one: see claim_jobs.sql.
      AND job.job_type = ANY (ARRAY[known.job_type])
      AND job.priority = step.priority
    ORDER BY job.job_type, job.scheduled_for
    LIMIT 1
) AS head
WHERE NOT coalesce(declared.paused, false)
  AND coalesce(declared.held_until <= now(), true)
