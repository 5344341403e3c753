-- Takes back a retry for those of the jobs that nobody has touched since: they are again what they were. A worker that
-- is just taking one is waited for, and keeps it. Locked in the order of the ids, as everywhere.
WITH untouched AS MATERIALIZED (
    SELECT job.id, retried.before
    FROM unnest(%(ids)s::text[]) AS wanted (id)
    -- Arrays of one, and one expression over both sides: see finish_jobs.sql. Else the planner begins with all of the
    -- action, of which it believes to be little left, and looks for each of 100,000 among all the ids of the chunk.
    JOIN retried_jobs AS retried ON retried.job_id = ANY (ARRAY[wanted.id])
    JOIN background_jobs AS job ON job.id = ANY (ARRAY[wanted.id])
    WHERE CASE
        -- The retry wrote both with one now(); a start, a release, a change by plain SQL writes another.
        WHEN job.status = 'pending' AND retried.bulk_action_id = %(bulk_action_id)s
            THEN job.updated_at = retried.retried_at
        ELSE false
    END
    ORDER BY wanted.id
    FOR UPDATE OF job
),
forgotten AS (
    DELETE FROM retried_jobs AS retried USING untouched WHERE retried.job_id = ANY (ARRAY[untouched.id])
)
UPDATE background_jobs AS job
SET status = untouched.before ->> 'status',
    retry_count = (untouched.before ->> 'retry_count')::int,
    lost_count = (untouched.before ->> 'lost_count')::smallint,
    scheduled_for = (untouched.before ->> 'scheduled_for')::timestamptz,
    started_at = (untouched.before ->> 'started_at')::timestamptz,
    completed_at = (untouched.before ->> 'completed_at')::timestamptz,
    error_message = untouched.before ->> 'error_message',
    worker_id = untouched.before ->> 'worker_id',
    progress = (untouched.before ->> 'progress')::float8,
    progress_note = untouched.before ->> 'progress_note',
    updated_at = now()
FROM untouched
WHERE job.id = ANY (ARRAY[untouched.id])
RETURNING job.job_type, job.priority, untouched.before ->> 'status'
