-- Of error groups, the jobs that people retried last (`most` of each, not older than `hours`), and how many of these are
-- failed again.
SELECT found.fingerprint, count(retried.job_id), count(*) FILTER (WHERE job.status = 'failed')
FROM unnest(%(fingerprints)s::text[]) AS found (fingerprint)
CROSS JOIN LATERAL (
    SELECT last.job_id
    FROM retried_jobs AS last
    WHERE last.fingerprint = found.fingerprint AND last.retried_at > now() - %(hours)s * interval '1 hour'
    ORDER BY last.fingerprint, last.retried_at DESC
    LIMIT %(most)s
) AS retried
LEFT JOIN background_jobs AS job ON job.id = ANY (ARRAY[retried.job_id])  -- see finish_jobs.sql
GROUP BY found.fingerprint
