-- What came in and what went out in a second, over the last `seconds`. In: rows by created_at, up to `most` of them, and
-- failed jobs that people put back; where there are more rows, the time that the newest `most` took. Out: what ended, from
-- the roll-up's minutes, the current one included.
WITH bounds AS (
    SELECT
        now() - %(seconds)s * interval '1 second' AS since,
        date_trunc('minute', now() - %(seconds)s * interval '1 second') AS since_minute
),
arrived AS (
    SELECT count(*) AS jobs, min(created_at) AS first
    FROM (
        SELECT created_at FROM background_jobs
        WHERE created_at > (SELECT since FROM bounds) AND created_at <= now()
        ORDER BY created_at DESC
        LIMIT %(most)s
    ) AS newest
),
ended AS (
    SELECT
        coalesce(sum(completed + failed + cancelled), 0) AS jobs,
        coalesce(sum(requeued), 0) AS requeued
    FROM job_metrics
    WHERE resolution = 1 AND bucket >= (SELECT since_minute FROM bounds)
)
SELECT
    (
        arrived.jobs / CASE
            -- A millisecond at least: all of them may have come in one transaction, just now.
            WHEN arrived.jobs = %(most)s THEN greatest(extract(epoch FROM now() - arrived.first), 0.001)
            ELSE %(seconds)s
        END
        + greatest(ended.requeued, 0) / extract(epoch FROM now() - bounds.since_minute)
    )::float8 AS arrivals,
    (ended.jobs / extract(epoch FROM now() - bounds.since_minute))::float8 AS departures
FROM bounds, arrived, ended
