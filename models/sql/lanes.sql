-- Lanes that have pending jobs: a lane is a job type at one priority. Its head is one probe of idx_jobs_claim, so
-- neither a held type with 200,000 rows nor jobs scheduled for next week cost anything, and nothing is sorted.
-- only_urgent true: of each type the most urgent lane with a job that is due, mostly one probe a type; false: all lanes
-- (500 probes for fifty types, 6 ms), with due_in, the seconds until the head is due, 0 or less when it is. What is held
-- is due when the hold ends: an idle worker wakes for it, and a drain waits.
SELECT
    known.job_type,
    lane.priority,
    lane.due_in,
    coalesce(declared.max_running IS NOT NULL OR declared.starts_per_second IS NOT NULL, false) AS limited
FROM unnest(%(job_types)s::text[]) AS known (job_type)
LEFT JOIN job_types AS declared ON declared.job_type = known.job_type
CROSS JOIN LATERAL (
    SELECT
        step.priority,
        extract(epoch FROM
            CASE
                WHEN declared.held_until > now() THEN greatest(head.scheduled_for, declared.held_until)
                ELSE head.scheduled_for
            END - now()
        )::float8 AS due_in
    FROM generate_series(10, 1, -1) AS step (priority)
    CROSS JOIN LATERAL (
        SELECT job.scheduled_for
        FROM background_jobs AS job
        WHERE job.status = 'pending'
          -- An array of one: see claim_jobs.sql.
          AND job.job_type = ANY (ARRAY[known.job_type])
          AND job.priority = step.priority
          AND job.scheduled_for <= CASE WHEN %(only_urgent)s THEN now() ELSE 'infinity'::timestamptz END
        ORDER BY job.job_type, job.scheduled_for
        LIMIT 1
    ) AS head
    LIMIT CASE WHEN %(only_urgent)s THEN 1 ELSE 10 END
) AS lane
WHERE NOT coalesce(declared.paused, false)
  AND CASE WHEN %(only_urgent)s THEN coalesce(declared.held_until <= now(), true)
      ELSE coalesce(declared.held_until < 'infinity', true) END
