-- Gives back what a stopping worker still holds: pending again at once, the attempt not counted. Locked in the order of
-- the ids, as outcomes are recorded: a last flush may be under way.
-- That order as bytes, which is Python's and no index's: else all ids may be walked along (see finish_jobs.sql).
WITH held AS MATERIALIZED (
    SELECT id
    FROM background_jobs
    WHERE status = 'processing'
      AND worker_id = %(worker_id)s
      AND (%(ids)s::text[] IS NULL OR id = ANY (%(ids)s::text[]))
    ORDER BY id COLLATE "C"
    FOR UPDATE
)
UPDATE background_jobs AS job
SET status = 'pending', started_at = NULL, worker_id = NULL, progress = NULL, progress_note = NULL, updated_at = now()
FROM held
WHERE job.id = ANY (ARRAY[held.id])  -- see finish_jobs.sql
RETURNING job.id
