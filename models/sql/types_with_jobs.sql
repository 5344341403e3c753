-- The job types of which there is a job, of any status or of one: from type to type by one probe of idx_jobs_type_status.
WITH RECURSIVE found AS (
    (SELECT job_type FROM background_jobs ORDER BY job_type, status LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.job_type FROM background_jobs AS job
        WHERE job.job_type > found.job_type ORDER BY job.job_type, job.status LIMIT 1
    )
    FROM found
    WHERE found.job_type IS NOT NULL
)
SELECT found.job_type
FROM found
WHERE found.job_type IS NOT NULL
  -- The array of one and the order: see claim_jobs.sql. By EXISTS all jobs of the status may be read.
  AND (%(status)s::text IS NULL OR (
      SELECT true FROM background_jobs AS job
      WHERE job.job_type = ANY (ARRAY[found.job_type]) AND job.status = %(status)s::text
      ORDER BY job.job_type LIMIT 1
  ))
ORDER BY found.job_type
