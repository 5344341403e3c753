-- Takes up to `most` due jobs of one type, the most urgent first, from the priorities given (in the order given).
-- The lanes are read one after the other and only as far as needed, so exactly the rows taken are locked, and rows
-- that another worker is taking are passed over.
-- A job lost twice is taken alone: first in line it comes without the others, behind others it stays.
WITH candidate AS MATERIALIZED (
    SELECT
        head.id, head.lost_count,
        -- The first one's losses in every row: joined to the first row, stale statistics compared each with each.
        row_number() OVER in_turn AS place, first_value(head.lost_count) OVER in_turn AS first_losses
    FROM unnest(%(priorities)s::int[]) AS lane (priority)
    CROSS JOIN LATERAL (
        SELECT job.id, job.lost_count
        FROM background_jobs AS job
        WHERE job.status = 'pending'
          -- An array of one, so that the planner does not take the type for a constant and order by it means something:
          -- only idx_jobs_claim has that order. With "=" it may walk idx_jobs_status_scheduled past all other types.
          AND job.job_type = ANY (ARRAY[%(job_type)s::text])
          AND job.priority = lane.priority
          AND job.scheduled_for <= now()
        ORDER BY job.job_type, job.scheduled_for
        LIMIT %(most)s
        FOR UPDATE SKIP LOCKED
    ) AS head
    WINDOW in_turn AS (ROWS UNBOUNDED PRECEDING)
    LIMIT %(most)s
),
chosen AS (
    SELECT id
    FROM candidate
    WHERE CASE WHEN first_losses >= %(alone_after)s THEN place = 1 ELSE lost_count < %(alone_after)s END
)
UPDATE background_jobs AS job
SET status = 'processing',
    started_at = now(),
    updated_at = now(),
    completed_at = NULL,
    worker_id = %(worker_id)s,
    flow_run_id = %(flow_run_id)s,
    task_run_id = NULL,
    progress = NULL,
    progress_note = NULL
FROM chosen
WHERE job.id = ANY (ARRAY[chosen.id])  -- by its id, whatever the planner believes: see finish_jobs.sql
RETURNING
    job.id,
    -- A row added by plain SQL may hold anything; what is over the limit never reaches this worker's memory.
    CASE WHEN octet_length(job.payload::text) <= %(payload_limit)s THEN job.payload::text END,
    job.priority,
    job.retry_count,
    job.max_retries,
    job.lost_count,
    greatest(0, extract(epoch FROM now() - job.scheduled_for))::float8,
    job.started_at
