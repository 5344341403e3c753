-- The histograms of the same rows as metric_counts.sql, added up: one row for each bucket of a histogram. Taken apart
-- and grouped, as adding JSON objects row by row (histogram_sum) takes ten times as long.
SELECT
    CASE WHEN %(by_step)s THEN date_bin(%(step)s * interval '1 minute', metric.bucket, 'epoch') END AS step,
    CASE WHEN %(by_type)s THEN job_type END AS job_type,
    CASE WHEN %(by_priority)s THEN priority END AS priority,
    histogram.name,
    entry.key::int AS bucket,
    sum(entry.value::bigint)::bigint AS jobs
FROM job_metrics AS metric
CROSS JOIN LATERAL (VALUES ('run', metric.run), ('wait', metric.wait)) AS histogram (name, counts)
CROSS JOIN LATERAL jsonb_each_text(histogram.counts) AS entry
WHERE metric.bucket >= %(since)s AND metric.bucket < %(until)s
  AND (%(job_types)s::text[] IS NULL OR job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR priority = ANY (%(priorities)s::int[]))
GROUP BY 1, 2, 3, 4, 5
