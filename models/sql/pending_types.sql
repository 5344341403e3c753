-- The job types among pending jobs that no live worker knows: one index probe a type (a loose index scan), not a pass
-- over the table. The order names all columns of idx_jobs_claim, as no other index has that one; with stale statistics
-- the planner sorted a million pending jobs for every type, and the 20 s stopped the heartbeat that asked.
WITH RECURSIVE found AS (
    (
        SELECT job_type FROM background_jobs
        WHERE status = 'pending'
        ORDER BY job_type, priority DESC, scheduled_for LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT job.job_type FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.job_type > found.job_type
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for LIMIT 1
    )
    FROM found
    WHERE found.job_type IS NOT NULL
)
SELECT found.job_type
FROM found
WHERE found.job_type IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM workers
      WHERE stopped_at IS NULL AND beat_at > now() - %(lease)s * interval '1 second'
        AND found.job_type = ANY (workers.job_types)
  )
LIMIT %(most)s
