-- Merges the backlog's samples of one hour into one row per job type: sums, from which means are made, and the worst.
-- Deleting and adding are one statement, as in merge_minutes.sql.
WITH minutes AS (
    DELETE FROM backlog_samples
    WHERE resolution = 1 AND bucket >= %(hour)s AND bucket < %(hour)s + interval '1 hour'
    RETURNING *
),
added AS (
    INSERT INTO backlog_samples AS sample (
        bucket, resolution, job_type, samples, due, scheduled, running, oldest_seconds, oldest_most, capped
    )
    SELECT
        %(hour)s, 60, job_type, sum(samples), sum(due), sum(scheduled), sum(running), sum(oldest_seconds),
        max(oldest_most), bool_or(capped)
    FROM minutes
    GROUP BY job_type
    ORDER BY job_type
    ON CONFLICT (job_type, bucket, resolution) DO UPDATE
    SET samples = sample.samples + excluded.samples,
        due = sample.due + excluded.due,
        scheduled = sample.scheduled + excluded.scheduled,
        running = sample.running + excluded.running,
        oldest_seconds = sample.oldest_seconds + excluded.oldest_seconds,
        oldest_most = greatest(sample.oldest_most, excluded.oldest_most),
        capped = sample.capped OR excluded.capped
)
SELECT count(*) FROM minutes
