-- Merges the roll-up's minutes of one hour into one row per job type and priority. Workers are not told apart any more:
-- they have rows of their own so that they do not wait for each other, and a year of ten is ten times the rows to read.
-- Deleting and adding are one statement: interrupted, nothing is lost and nothing counted twice.
WITH minutes AS (
    DELETE FROM job_metrics
    WHERE resolution = 1 AND bucket >= %(hour)s AND bucket < %(hour)s + interval '1 hour'
    RETURNING *
),
added AS (
    INSERT INTO job_metrics AS metric (
        bucket, resolution, job_type, priority, worker_id, completed, failed, retried, cancelled, lost, requeued,
        snoozed, wait_seconds, run_seconds, wait, run, stage_micros
    )
    SELECT
        %(hour)s, 60, job_type, priority, '', sum(completed), sum(failed), sum(retried), sum(cancelled),
        sum(lost), sum(requeued), sum(snoozed), sum(wait_seconds), sum(run_seconds), histogram_sum(wait), histogram_sum(run),
        histogram_sum(stage_micros)
    FROM minutes
    GROUP BY job_type, priority
    ORDER BY job_type, priority
    ON CONFLICT (bucket, resolution, job_type, priority, worker_id) DO UPDATE
    SET completed = metric.completed + excluded.completed,
        failed = metric.failed + excluded.failed,
        retried = metric.retried + excluded.retried,
        cancelled = metric.cancelled + excluded.cancelled,
        lost = metric.lost + excluded.lost,
        requeued = metric.requeued + excluded.requeued,
        snoozed = metric.snoozed + excluded.snoozed,
        wait_seconds = metric.wait_seconds + excluded.wait_seconds,
        run_seconds = metric.run_seconds + excluded.run_seconds,
        wait = histogram_add(metric.wait, excluded.wait),
        run = histogram_add(metric.run, excluded.run),
        stage_micros = histogram_add(metric.stage_micros, excluded.stage_micros)
)
SELECT count(*) FROM minutes
