-- What people did to one thing, the newest first. Of a job also that it was added among others: one entry stands for all
-- jobs that were added together, and has their time of adding to the microsecond, as both are their transaction's now().
-- OFFSET 0: all that was done to the one thing is read by its index, then sorted. A job type that a script has limited
-- 120,000 times in 13 months takes 60 ms that way; else the planner would walk back along the key of the whole log for
-- it, past a million entries if the type's own are old.
(
    SELECT *
    FROM (
        SELECT id, at, who, action, target, detail FROM audit_log WHERE target = %(target)s::text OFFSET 0
    ) AS done
    ORDER BY id DESC
    LIMIT %(most)s
)
UNION ALL
SELECT added.*
FROM background_jobs AS job
CROSS JOIN LATERAL (
    SELECT id, at, who, action, target, detail
    FROM audit_log
    WHERE at = job.created_at AND action = 'add' AND target <> job.id AND detail -> 'types' ? job.job_type
    LIMIT 1
) AS added
WHERE job.id = %(target)s::text
ORDER BY id DESC
LIMIT %(most)s
