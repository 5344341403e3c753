-- Merges the roll-up's minutes of one hour into one row per job type, priority and worker. Deleting and adding are one
-- statement: interrupted, nothing is lost and nothing counted twice.
WITH minutes AS (
    DELETE FROM job_metrics
    WHERE resolution = 1 AND bucket >= %(hour)s AND bucket < %(hour)s + interval '1 hour'
    RETURNING *
),
added AS (
    INSERT INTO job_metrics AS metric (
        bucket, resolution, job_type, priority, worker_id, completed, failed, retried, cancelled, lost, requeued,
        wait_seconds, run_seconds, wait, run
    )
    SELECT
        %(hour)s, 60, job_type, priority, worker_id, sum(completed), sum(failed), sum(retried), sum(cancelled),
        sum(lost), sum(requeued), sum(wait_seconds), sum(run_seconds), histogram_sum(wait), histogram_sum(run)
    FROM minutes
    GROUP BY job_type, priority, worker_id
    ORDER BY job_type, priority, worker_id
    ON CONFLICT (bucket, resolution, job_type, priority, worker_id) DO UPDATE
    SET completed = metric.completed + excluded.completed,
        failed = metric.failed + excluded.failed,
        retried = metric.retried + excluded.retried,
        cancelled = metric.cancelled + excluded.cancelled,
        lost = metric.lost + excluded.lost,
        requeued = metric.requeued + excluded.requeued,
        wait_seconds = metric.wait_seconds + excluded.wait_seconds,
        run_seconds = metric.run_seconds + excluded.run_seconds,
        wait = histogram_add(metric.wait, excluded.wait),
        run = histogram_add(metric.run, excluded.run)
)
SELECT count(*) FROM minutes
