-- How many jobs of one status ended so many days ago; counting stops at `most`.
SELECT count(*)
FROM (
    SELECT
    FROM background_jobs
    WHERE status = %(status)s
      AND created_at < now() - make_interval(days => %(days)s)
      AND coalesce(completed_at, updated_at) < now() - make_interval(days => %(days)s)
    LIMIT %(most)s
) AS old
