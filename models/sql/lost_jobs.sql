-- Of the jobs that run here, those that are no longer this worker's: cancelled, rescued or deleted. Job by job, by
-- LIMIT: else the whole table may be read (see finish_jobs.sql).
SELECT held.id
FROM unnest(%(ids)s::text[]) AS held (id)
LEFT JOIN LATERAL (
    SELECT job.status, job.worker_id FROM background_jobs AS job WHERE job.id = held.id LIMIT 1
) AS found ON true
WHERE found.status IS DISTINCT FROM 'processing' OR found.worker_id IS DISTINCT FROM %(worker_id)s
