-- Writes what running jobs have reported of their progress. The fence and the array of one: see finish_jobs.sql.
UPDATE background_jobs AS job
SET progress = report.share, progress_note = report.note, updated_at = now()
FROM unnest(%(ids)s::text[], %(started_at)s::timestamptz[], %(shares)s::float8[], %(notes)s::text[])
    AS report (id, started_at, share, note)
WHERE job.id = ANY (ARRAY[report.id])
  AND CASE
      WHEN job.status = 'processing' AND job.worker_id = %(worker_id)s THEN job.started_at = report.started_at
      ELSE false
  END
