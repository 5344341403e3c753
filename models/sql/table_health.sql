-- PostgreSQL's own statistics of the queue's tables; the catalogue only, no table is read.
SELECT
    relname::text AS table,
    n_live_tup AS live_rows,
    n_dead_tup AS dead_rows,
    coalesce(n_dead_tup::float8 / nullif(n_live_tup + n_dead_tup, 0), 0) AS dead_share,
    greatest(last_vacuum, last_autovacuum) AS last_vacuum,
    pg_table_size(relid) AS bytes,
    pg_indexes_size(relid) AS index_bytes
FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname <> 'alembic_version'
ORDER BY pg_total_relation_size(relid) DESC
