-- How many rows a look of bulk_candidates.sql had before it, and where it ended; no row: none.
SELECT look.number, look.moment, look.place
FROM (
    SELECT row_number() OVER (ROWS UNBOUNDED PRECEDING) AS number, moment, place
    FROM (
        SELECT COALESCE(completed_at, created_at) AS moment, ctid::text AS place
        FROM background_jobs
        WHERE status = 'failed'
          AND fingerprint = %(group)s
          AND COALESCE(completed_at, created_at) <= %(moment)s
          AND (COALESCE(completed_at, created_at) < %(moment)s OR ctid > %(place)s::tid)
        ORDER BY fingerprint, COALESCE(completed_at, created_at) DESC
        LIMIT %(examined)s
    ) AS walked
) AS look
ORDER BY look.number DESC
LIMIT 1
