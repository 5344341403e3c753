-- Cancels pending and running jobs. Locked in the order of the ids, as outcomes are recorded.
WITH live AS MATERIALIZED (
    SELECT id, status
    FROM background_jobs
    WHERE id = ANY (%(ids)s::text[])
      -- Not a plain condition, by which stale statistics would rather search than by the ids: see finish_jobs.sql.
      AND CASE WHEN status IN ('pending', 'processing') THEN true ELSE false END
    ORDER BY id
    FOR UPDATE
)
UPDATE background_jobs AS job
SET status = 'cancelled', completed_at = now(), updated_at = now()
FROM live
WHERE job.id = ANY (ARRAY[live.id])  -- see finish_jobs.sql
RETURNING job.id, job.job_type, job.priority, live.status, job.started_at
