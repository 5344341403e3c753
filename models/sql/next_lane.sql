-- Of lanes with pending jobs (a lane: a job type at one priority), the one after `lane`: the same type's next priority, or
-- else the next type's first. One probe of idx_jobs_claim, a step of a loose index scan; the array of one: see
-- claim_jobs.sql. Put into other statements.
(
    SELECT job.job_type, job.priority FROM background_jobs AS job
    WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority < lane.priority
    ORDER BY job.job_type, job.priority DESC, job.scheduled_for LIMIT 1
)
UNION ALL
(
    SELECT job.job_type, job.priority FROM background_jobs AS job
    WHERE job.status = 'pending' AND job.job_type > lane.job_type
    ORDER BY job.job_type, job.priority DESC, job.scheduled_for LIMIT 1
)
LIMIT 1
