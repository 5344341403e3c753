-- Puts back the jobs of workers that have not beaten for `lease` seconds, or stopped without giving them back, or are
-- unknown. A rescue counts as a loss, not as a retry; after the last allowed loss the job fails for good, because a job
-- that kills its worker must not take its neighbours along for ever.
-- In no order, as SKIP LOCKED waits for nobody: ordered by id, a million pending jobs were walked through (300 ms).
WITH lost AS MATERIALIZED (
    SELECT job.id, job.worker_id, job.started_at, job.lost_count + 1 AS losses
    FROM background_jobs AS job
    LEFT JOIN workers AS holder ON holder.worker_id = job.worker_id
    WHERE job.status = 'processing'
      AND (
          holder.stopped_at IS NOT NULL
          OR coalesce(holder.beat_at, job.started_at, job.updated_at) < now() - %(lease)s * interval '1 second'
      )
    LIMIT %(most)s
    FOR UPDATE OF job SKIP LOCKED
),
rescued AS (
    UPDATE background_jobs AS job
    SET status = CASE WHEN lost.losses >= %(fail_after)s THEN 'failed' ELSE 'pending' END,
        lost_count = least(lost.losses, 32767),
        started_at = CASE WHEN lost.losses >= %(fail_after)s THEN job.started_at END,
        completed_at = CASE WHEN lost.losses >= %(fail_after)s THEN now() END,
        worker_id = CASE WHEN lost.losses >= %(fail_after)s THEN job.worker_id END,
        fingerprint = CASE
            WHEN lost.losses >= %(fail_after)s THEN job.job_type || ':WorkerLost' ELSE job.fingerprint
        END,
        error_message = format('the worker that ran this job died (%%s times so far)', lost.losses),
        updated_at = now()
    FROM lost
    WHERE job.id = ANY (ARRAY[lost.id])  -- see finish_jobs.sql
    RETURNING job.id, job.job_type, job.priority, job.retry_count, job.status, job.error_message, job.flow_run_id,
        lost.worker_id AS holder, lost.started_at AS lost_start
),
recorded AS (
    INSERT INTO job_failures (
        job_id, job_type, attempt, error_class, message, fingerprint, worker_id, flow_run_id, started_at
    )
    SELECT
        rescued.id, rescued.job_type, rescued.retry_count + 1, 'WorkerLost', rescued.error_message,
        rescued.job_type || ':WorkerLost', rescued.holder, rescued.flow_run_id, rescued.lost_start
    FROM rescued
)
SELECT job_type, priority, status, count(*) FROM rescued GROUP BY job_type, priority, status
