-- The workers that have not signed off, with the jobs each holds.
SELECT
    worker.worker_id, worker.host, worker.pid, worker.job_types,
    CASE
        WHEN worker.beat_at < now() - %(lease)s * interval '1 second' THEN 'silent'
        WHEN worker.stop_requested THEN 'stopping'
        WHEN worker.waiting THEN 'idle'
        ELSE 'working'
    END AS state,
    worker.started_at, worker.beat_at,
    extract(epoch FROM now() - worker.beat_at)::float8 AS beat_age_seconds,
    worker.beat_at < now() - %(lease)s * interval '1 second' AS heartbeat_lost,
    coalesce(held.jobs, 0) AS running,
    worker.flow_run_id
FROM workers AS worker
LEFT JOIN (
    SELECT worker_id, count(*) AS jobs FROM background_jobs WHERE status = 'processing' GROUP BY worker_id
) AS held ON held.worker_id = worker.worker_id
WHERE worker.stopped_at IS NULL
ORDER BY worker.started_at, worker.worker_id
