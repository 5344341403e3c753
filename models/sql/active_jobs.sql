-- What runs now, the longest-running first, with the last beat of its worker. Only the rows that are processing are
-- read: a few thousand at most, however long the queue is.
SELECT
    job.id, job.job_type, job.priority, job.worker_id, job.started_at,
    extract(epoch FROM now() - job.started_at)::float8 AS running_seconds,
    job.progress, job.progress_note,
    extract(epoch FROM now() - holder.beat_at)::float8 AS beat_age_seconds,
    holder.stopped_at IS NOT NULL
        OR coalesce(holder.beat_at, job.started_at, job.updated_at) < now() - %(lease)s * interval '1 second'
        AS heartbeat_lost,
    job.flow_run_id, job.task_run_id, job.retry_count + 1 AS attempt
FROM background_jobs AS job
LEFT JOIN workers AS holder ON holder.worker_id = job.worker_id
WHERE job.status = 'processing'
ORDER BY job.started_at, job.id
LIMIT %(most)s
