-- The greatest id of a lot below one of its ids (NULL: of all), where it is among the next so many of all jobs. No OR
-- for the NULL: the plan for any parameter would walk down from the greatest id.
SELECT id
FROM (
    SELECT id, created_at
    FROM background_jobs
    WHERE id <= coalesce(%(below)s::text, (SELECT max(id) FROM background_jobs))
      AND id IS DISTINCT FROM %(below)s::text
    ORDER BY id DESC
    LIMIT %(most)s
) AS near
WHERE created_at = %(moment)s
ORDER BY id DESC
LIMIT 1
