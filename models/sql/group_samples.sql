-- What error groups look like: the newest failed job of each, the class and the first failure of its history. Some probes
-- a group; arrays of one: see claim_jobs.sql. A group without a history (failed by plain SQL) has no class.
SELECT
    found.fingerprint,
    newest.job_type,
    coalesce(history.error_class, '') AS error_class,
    coalesce(newest.error_message, history.message, '') AS message,
    least(first.failed_at, oldest.moment) AS first_seen,
    newest.moment AS last_seen
FROM unnest(%(fingerprints)s::text[]) WITH ORDINALITY AS found (fingerprint, place)
CROSS JOIN LATERAL (
    SELECT job.job_type, job.error_message, COALESCE(job.completed_at, job.created_at) AS moment
    FROM background_jobs AS job
    WHERE job.status = 'failed' AND job.fingerprint = found.fingerprint
    ORDER BY job.fingerprint, COALESCE(job.completed_at, job.created_at) DESC
    LIMIT 1
) AS newest
CROSS JOIN LATERAL (
    SELECT COALESCE(job.completed_at, job.created_at) AS moment
    FROM background_jobs AS job
    WHERE job.status = 'failed' AND job.fingerprint = found.fingerprint
    ORDER BY job.fingerprint DESC, COALESCE(job.completed_at, job.created_at)
    LIMIT 1
) AS oldest
LEFT JOIN LATERAL (
    SELECT failure.error_class, failure.message
    FROM job_failures AS failure
    WHERE failure.fingerprint = ANY (ARRAY[found.fingerprint])
    ORDER BY failure.fingerprint, failure.failed_at DESC
    LIMIT 1
) AS history ON true
LEFT JOIN LATERAL (
    SELECT failure.failed_at
    FROM job_failures AS failure
    WHERE failure.fingerprint = ANY (ARRAY[found.fingerprint])
    ORDER BY failure.fingerprint DESC, failure.failed_at
    LIMIT 1
) AS first ON true
ORDER BY found.place
