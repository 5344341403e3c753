-- Records the outcomes of many jobs at once. The fence: only the worker that holds a job, and only for the attempt it
-- claimed (worker_id and started_at), may end it; rows that do not come back were taken from it meanwhile.
-- The outcomes come ordered by id, so that two statements over the same rows lock them in the same order.
UPDATE background_jobs AS job
SET status = outcome.status,
    retry_count = job.retry_count + outcome.retries,
    scheduled_for = CASE
        WHEN outcome.status = 'pending' THEN now() + outcome.delay * interval '1 second'
        ELSE job.scheduled_for
    END,
    started_at = CASE WHEN outcome.status = 'pending' THEN NULL ELSE job.started_at END,
    -- When it ended, not when this flush came round.
    completed_at = CASE
        WHEN outcome.status = 'pending' THEN NULL
        ELSE least(now(), job.started_at + outcome.elapsed * interval '1 second')
    END,
    worker_id = CASE WHEN outcome.status = 'pending' THEN NULL ELSE job.worker_id END,
    error_message = outcome.error_message,
    -- A retried job keeps the group it was in, until it fails for good again.
    fingerprint = CASE WHEN outcome.status = 'failed' THEN outcome.fingerprint ELSE job.fingerprint END,
    result = outcome.result::jsonb,
    progress = CASE WHEN outcome.status = 'completed' AND job.progress IS NOT NULL THEN 1 ELSE job.progress END,
    progress_note = CASE WHEN outcome.note IS NULL THEN job.progress_note ELSE outcome.note END,
    task_run_id = outcome.task_run_id,
    updated_at = now()
FROM unnest(
    %(ids)s::text[], %(started_at)s::timestamptz[], %(statuses)s::text[], %(retries)s::int[], %(delays)s::float8[],
    %(elapsed)s::float8[], %(errors)s::text[], %(fingerprints)s::text[], %(results)s::text[], %(notes)s::text[],
    %(task_run_ids)s::text[]
) AS outcome (
    id, started_at, status, retries, delay, elapsed, error_message, fingerprint, result, note, task_run_id
)
-- An array of one: so the index can only be asked for the outcomes' ids. By "=" the planner may also walk along all of
-- it and compare each job with each outcome, and does when autovacuum came while a load's transaction was open: until it
-- comes again, the statistics say that the table has no rows (20,000 jobs took 260 s instead of 1).
WHERE job.id = ANY (ARRAY[outcome.id])
  -- The fence, as one expression over both sides: taken apart, the planner filters the table by it first, believes that
  -- one row is left, and compares every running job with every outcome.
  AND CASE
      WHEN job.status = 'processing' AND job.worker_id = %(worker_id)s THEN job.started_at = outcome.started_at
      ELSE false
  END
RETURNING job.id, outcome.started_at
