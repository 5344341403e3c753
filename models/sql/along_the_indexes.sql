-- For the rest of the transaction, plans go row by row along the indexes. The hot statements take at most a thousand
-- rows from tables whose statistics are always behind: with stale ones the planner sorted a whole type (160-290 ms a
-- claim, 1.5 ms along the index), and joined each outcome with each running job (533 ms for 1,000 outcomes, 15 ms here).
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_sort = off;
SET LOCAL enable_incremental_sort = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
