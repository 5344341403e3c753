-- The failed attempts of error groups in each of the last closed hours: one probe of the index an hour. The array
-- of one and the order: see claim_jobs.sql. Else all groups' failures of the hour may be read for each group.
SELECT found.fingerprint, array_agg(counted.failures ORDER BY hour.number)::int[]
FROM unnest(%(fingerprints)s::text[]) AS found (fingerprint)
CROSS JOIN generate_series(1, %(hours)s) AS hour (number)
CROSS JOIN LATERAL (
    SELECT count(*) AS failures
    FROM (
        SELECT FROM job_failures AS failure
        WHERE failure.fingerprint = ANY (ARRAY[found.fingerprint])
          AND failure.failed_at >= date_trunc('hour', now()) + (hour.number - 1 - %(hours)s) * interval '1 hour'
          AND failure.failed_at < date_trunc('hour', now()) + (hour.number - %(hours)s) * interval '1 hour'
        ORDER BY failure.fingerprint, failure.failed_at DESC
        LIMIT %(most)s
    ) AS failures
) AS counted
GROUP BY found.fingerprint
