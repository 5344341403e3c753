-- The most frequent errors of failed attempts in a period, each with its newest message.
WITH groups AS (
    SELECT fingerprint, job_type, count(*) AS failures, count(DISTINCT job_id) AS jobs, max(failed_at) AS last_failure
    FROM job_failures
    WHERE failed_at >= %(since)s AND failed_at < %(until)s
    GROUP BY fingerprint, job_type
    ORDER BY failures DESC, fingerprint
    LIMIT %(most)s
)
SELECT groups.job_type, newest.error, newest.message, groups.failures, groups.jobs, groups.last_failure
FROM groups
CROSS JOIN LATERAL (
    SELECT failure.error_class AS error, left(failure.message, 500) AS message
    FROM job_failures AS failure
    WHERE failure.fingerprint = groups.fingerprint AND failure.failed_at = groups.last_failure
    LIMIT 1
) AS newest
ORDER BY groups.failures DESC, groups.fingerprint
