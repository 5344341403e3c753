-- Cancels pending and running jobs. Locked in the order of the ids, as outcomes are recorded.
WITH live AS MATERIALIZED (
    SELECT id, status
    FROM background_jobs
    WHERE id = ANY (%(ids)s::text[]) AND status IN ('pending', 'processing')
    ORDER BY id
    FOR UPDATE
)
UPDATE background_jobs AS job
SET status = 'cancelled', completed_at = now(), updated_at = now()
FROM live
WHERE job.id = live.id
RETURNING job.id, job.job_type, job.priority, live.status, job.started_at
