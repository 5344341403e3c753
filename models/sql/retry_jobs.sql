-- Makes failed and cancelled jobs pending again, due now and then `gap` seconds apart, with fresh budgets; their history
-- and their error group stay. Locked in the order of the ids, as outcomes are recorded and as others retry.
-- What they were is kept for the undo. Of those that wait for one unique key only the first comes back, and none where a live job has the key.
WITH ended AS MATERIALIZED (
    SELECT
        id, status, unique_key, fingerprint, retry_count, lost_count, scheduled_for, started_at, completed_at,
        error_message, worker_id, progress, progress_note
    FROM background_jobs
    WHERE id = ANY (%(ids)s::text[])
      -- Not a plain condition, by which stale statistics would rather search than by the ids: see finish_jobs.sql.
      AND CASE WHEN status IN ('failed', 'cancelled') THEN true ELSE false END
    ORDER BY id
    FOR UPDATE
),
in_turn AS (
    SELECT *, row_number() OVER (PARTITION BY unique_key ORDER BY id) AS turn FROM ended
),
chosen AS (
    SELECT *, row_number() OVER (ORDER BY id) - 1 AS place
    FROM in_turn
    WHERE unique_key IS NULL
       OR turn = 1 AND (
           SELECT true FROM background_jobs AS holder
           -- In the order of idx_jobs_unique_key, so that it is found there: see claim_jobs.sql for the array of one.
           WHERE holder.unique_key = ANY (ARRAY[in_turn.unique_key]) AND holder.status IN ('pending', 'processing')
           ORDER BY holder.unique_key
           LIMIT 1
       ) IS NULL
),
remembered AS (
    INSERT INTO retried_jobs (job_id, fingerprint, bulk_action_id, before)
    SELECT
        id, fingerprint, %(bulk_action_id)s,
        jsonb_build_object(
            'status', status, 'retry_count', retry_count, 'lost_count', lost_count, 'scheduled_for', scheduled_for,
            'started_at', started_at, 'completed_at', completed_at, 'error_message', error_message,
            'worker_id', worker_id, 'progress', progress, 'progress_note', progress_note
        )
    FROM chosen
    ON CONFLICT (job_id) DO UPDATE
    SET fingerprint = excluded.fingerprint, retried_at = excluded.retried_at,
        bulk_action_id = excluded.bulk_action_id, before = excluded.before
)
UPDATE background_jobs AS job
SET status = 'pending', retry_count = 0, lost_count = 0,
    scheduled_for = greatest(now(), %(begin)s::timestamptz) + chosen.place * %(gap)s * interval '1 second',
    started_at = NULL, completed_at = NULL, error_message = NULL, worker_id = NULL, progress = NULL,
    progress_note = NULL, updated_at = now()
FROM chosen
WHERE job.id = ANY (ARRAY[chosen.id])  -- see finish_jobs.sql
RETURNING job.id, job.job_type, job.priority, chosen.status
