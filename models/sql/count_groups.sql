-- Failed jobs by error group: one pass over idx_jobs_failed_group alone (100,000 jobs: 10 ms), which stops at `most`.
SELECT fingerprint, count(*)
FROM (
    SELECT fingerprint
    FROM background_jobs
    WHERE status = 'failed' AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s::text)
    ORDER BY fingerprint
    LIMIT %(most)s
) AS job
GROUP BY fingerprint
