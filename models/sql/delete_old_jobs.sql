-- Deletes one chunk of jobs that ended before the cut-off, oldest first; their failures go with them (ON DELETE CASCADE).
-- It walks idx_jobs_created_at from where the last chunk ended, so that rows deleted a moment ago are not passed again.
-- created_at only bounds the walk: a job that waited for a month and ended yesterday stays.
WITH old AS MATERIALIZED (
    SELECT id, created_at
    FROM background_jobs
    WHERE created_at >= %(after)s::timestamptz
      AND created_at < %(cutoff)s
      AND status IN ('completed', 'failed', 'cancelled')
      AND coalesce(completed_at, updated_at) < %(cutoff)s
    ORDER BY created_at
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
),
deleted AS (
    DELETE FROM background_jobs AS job USING old WHERE job.id = old.id RETURNING old.created_at
)
SELECT count(*), max(created_at)::text, extract(epoch FROM %(cutoff)s - max(created_at))::float8 FROM deleted
