-- The times of the first job and of one that comes a number of others later, within two bounds that count; from the
-- index alone.
SELECT
    (
        SELECT created_at
        FROM background_jobs
        WHERE created_at <= %(latest)s AND created_at >= %(earliest)s
        ORDER BY created_at DESC
        LIMIT 1
    ) AS first,
    (
        SELECT created_at
        FROM background_jobs
        WHERE created_at <= %(latest)s AND created_at >= %(earliest)s
        ORDER BY created_at DESC
        OFFSET %(others)s LIMIT 1
    ) AS last
