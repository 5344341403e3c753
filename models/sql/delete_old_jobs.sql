-- Deletes one chunk of jobs that ended before their status' cut-off, oldest first; their failures go with them (ON DELETE
-- CASCADE). It walks idx_jobs_created_at from where the last chunk ended, so that rows deleted a moment ago are not
-- passed again. created_at only bounds the walk: a job that waited for a month and ended yesterday stays.
WITH old AS MATERIALIZED (
    SELECT id, created_at
    FROM background_jobs
    WHERE created_at >= %(after)s::timestamptz
      AND created_at < %(now)s::timestamptz
          - make_interval(days => least(%(completed)s::int, %(failed)s::int, %(cancelled)s::int))
      AND status IN ('completed', 'failed', 'cancelled')
      AND coalesce(completed_at, updated_at) < %(now)s::timestamptz - make_interval(
          days => CASE status
              WHEN 'completed' THEN %(completed)s::int WHEN 'failed' THEN %(failed)s::int ELSE %(cancelled)s::int
          END
      )
    ORDER BY created_at
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
),
-- As it was before: what the cascade takes along.
failures AS (
    SELECT coalesce(sum(history.rows), 0)::bigint AS rows
    FROM old
    CROSS JOIN LATERAL (SELECT count(*) AS rows FROM job_failures WHERE job_id = old.id) AS history
),
deleted AS (
    DELETE FROM background_jobs AS job USING old
    WHERE job.id = ANY (ARRAY[old.id])  -- see finish_jobs.sql
    RETURNING old.created_at, job.status
)
SELECT
    count(*) FILTER (WHERE status = 'completed'),
    count(*) FILTER (WHERE status = 'failed'),
    count(*) FILTER (WHERE status = 'cancelled'),
    (SELECT rows FROM failures),
    max(created_at)::text,
    extract(
        epoch FROM %(now)s::timestamptz
            - make_interval(days => least(%(completed)s::int, %(failed)s::int, %(cancelled)s::int)) - max(created_at)
    )::float8
FROM deleted
