-- Failed jobs by error group where there are too many for one pass: from group to group by one probe each (a loose index
-- scan), and `most` of each counted.
WITH RECURSIVE found AS (
    (SELECT fingerprint FROM background_jobs WHERE status = 'failed' ORDER BY fingerprint LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.fingerprint FROM background_jobs AS job
        WHERE job.status = 'failed' AND job.fingerprint > found.fingerprint
        ORDER BY job.fingerprint LIMIT 1
    )
    FROM found
    WHERE found.fingerprint IS NOT NULL
)
SELECT found.fingerprint, counted.jobs
FROM (SELECT fingerprint FROM found WHERE fingerprint IS NOT NULL LIMIT %(groups)s) AS found
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs
    FROM (
        SELECT FROM background_jobs AS job
        WHERE job.status = 'failed' AND job.fingerprint = found.fingerprint
        LIMIT %(most)s
    ) AS jobs
) AS counted
