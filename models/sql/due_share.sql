-- Which share of the pending jobs is due, by about so many pages of the table; NULL: no pending job is on them. No index
-- tells it: where both what is due and what is scheduled are beyond counting, their border may be anywhere. Always the
-- same pages, so that an estimate made of it does not flicker.
SELECT (count(*) FILTER (WHERE scheduled_for <= now()))::float8 / nullif(count(*), 0)
FROM background_jobs TABLESAMPLE SYSTEM (
    least(100, 100.0 * %(pages)s * current_setting('block_size')::int / greatest(1, pg_relation_size('background_jobs')))
) REPEATABLE (0)
WHERE status = 'pending'
