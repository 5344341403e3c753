-- What ended in a period, from the roll-up, by time step, job type or priority as asked for (NULL where not).
-- Minutes and hours lie in one table: each event is in exactly one row, at whichever of the two.
SELECT
    CASE WHEN %(by_step)s THEN date_bin(%(step)s * interval '1 minute', bucket, 'epoch') END AS step,
    CASE WHEN %(by_type)s THEN job_type END AS job_type,
    CASE WHEN %(by_priority)s THEN priority END AS priority,
    sum(completed)::bigint AS completed,
    sum(failed)::bigint AS failed,
    sum(retried)::bigint AS retried,
    sum(cancelled)::bigint AS cancelled,
    sum(lost)::bigint AS lost,
    sum(run_seconds) AS run_seconds,
    sum(wait_seconds) AS wait_seconds
FROM job_metrics
WHERE bucket >= %(since)s AND bucket < %(until)s
  AND (%(job_types)s::text[] IS NULL OR job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR priority = ANY (%(priorities)s::int[]))
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
