-- The same, wherever it is: reads the lot. Fenced, or the planner walks along all ids for it.
SELECT max(id)
FROM (
    SELECT id FROM background_jobs WHERE created_at = %(moment)s OFFSET 0
) AS lot
WHERE %(below)s::text IS NULL OR id < %(below)s::text
