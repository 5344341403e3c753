-- Failed attempts, for the history and the error groups. Joined to the jobs and locked, so that one deleted meanwhile
-- does no harm: unlocked, it can go between this look and the foreign key's.
INSERT INTO job_failures (
    job_id, job_type, attempt, error_class, message, traceback, fingerprint, worker_id, flow_run_id, task_run_id,
    started_at
)
SELECT
    failure.job_id, job.job_type, failure.attempt, failure.error_class, failure.message, failure.traceback,
    failure.fingerprint, %(worker_id)s, job.flow_run_id, failure.task_run_id, failure.started_at
FROM unnest(
    %(ids)s::text[], %(attempts)s::int[], %(error_classes)s::text[], %(messages)s::text[], %(tracebacks)s::text[],
    %(fingerprints)s::text[], %(task_run_ids)s::text[], %(started_at)s::timestamptz[]
) AS failure (job_id, attempt, error_class, message, traceback, fingerprint, task_run_id, started_at)
JOIN background_jobs AS job ON job.id = ANY (ARRAY[failure.job_id])  -- see finish_jobs.sql
FOR KEY SHARE OF job
