-- The days to compute: the last ones; those that something changed lately belongs to (a deal won that closed weeks ago, a
-- customer imported with an old date); and since the first data, those that lack figures.
WITH bounds AS (
    SELECT
        (now() AT TIME ZONE 'UTC')::date AS today,
        (
            SELECT (min(at) AT TIME ZONE 'UTC')::date
            FROM (
                SELECT min(created_at) AS at FROM customers
                UNION ALL SELECT min(created_at) FROM opportunities
                UNION ALL SELECT min(expected_close)::timestamp AT TIME ZONE 'UTC' FROM opportunities WHERE status = 'won'
                UNION ALL SELECT min(created_at) FROM offers
                UNION ALL SELECT min(bucket) FROM job_metrics
                UNION ALL SELECT min(day)::timestamp AT TIME ZONE 'UTC' FROM analytics_daily
            ) AS first
        ) AS first
),
every AS (
    SELECT day::date
    FROM bounds, generate_series(
        greatest(least(first, today), today - %(most)s + 1)::timestamp, today::timestamp, interval '1 day'
    ) AS day
),
changed AS (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day FROM customers, bounds
    WHERE updated_at >= (today - %(days)s)::timestamp AT TIME ZONE 'UTC'
    UNION
    SELECT least(expected_close, (updated_at AT TIME ZONE 'UTC')::date) FROM opportunities, bounds
    WHERE status = 'won' AND updated_at >= (today - %(days)s)::timestamp AT TIME ZONE 'UTC'
),
whole AS (
    SELECT day FROM analytics_daily
    JOIN unnest(%(dimensions)s::text[], %(members)s::text[], %(measures)s::text[]) AS each (dimension, member, measure)
        USING (dimension, member, measure)
    GROUP BY day
    HAVING count(*) = cardinality(%(measures)s::text[])
)
SELECT day
FROM every, bounds
WHERE day > today - %(days)s
   OR day IN (SELECT day FROM changed)
   OR day NOT IN (SELECT day FROM whole)
ORDER BY day
