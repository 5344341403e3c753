-- Jobs of types that no live worker knows fail for good, in chunks; the caller has watched these types for a minute.
WITH orphan AS MATERIALIZED (
    SELECT id, job_type
    FROM background_jobs
    WHERE status = 'pending' AND job_type = ANY (%(job_types)s::text[])
      AND created_at < now() - %(patience)s * interval '1 second'
    -- The order of idx_jobs_claim, so that no other type's rows are walked through.
    ORDER BY job_type, priority DESC, scheduled_for
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
),
failed AS (
    UPDATE background_jobs AS job
    SET status = 'failed',
        completed_at = now(),
        updated_at = now(),
        fingerprint = job.job_type || ':UnknownJobType',
        error_message = format(
            'no live worker knows the job type %%L (known: %%s): add a processor for it, or name its module in '
            'JOB_QUEUE_MODULES, then retry this job', job.job_type, %(known)s::text
        )
    FROM orphan
    WHERE job.id = ANY (ARRAY[orphan.id])  -- see finish_jobs.sql
    RETURNING job.id, job.job_type, job.priority, job.retry_count, job.error_message
),
recorded AS (
    INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)
    SELECT id, job_type, retry_count + 1, 'UnknownJobType', error_message, job_type || ':UnknownJobType' FROM failed
)
SELECT job_type, priority, count(*) FROM failed GROUP BY job_type, priority
