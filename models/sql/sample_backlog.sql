-- One sample of the backlog for the current minute, unless a worker has taken it already: a row for the whole queue (job
-- type empty), and one for each type that has jobs. Who inserts the first row takes the rest; a worker that comes at the
-- same moment waits for it, and its own statement ends there. Counts are bounded: `whole` of the queue, `lanes` of all
-- lanes (a type at one priority, found as in backlog.sql) together, each lane its share. Each count names the order of
-- its index, as there.
WITH RECURSIVE asked AS MATERIALIZED (
    SELECT now() AS at
    WHERE NOT EXISTS (
        SELECT FROM backlog_samples WHERE job_type = '' AND bucket = date_trunc('minute', now()) AND resolution = 1
    )
),
taken AS (
    INSERT INTO backlog_samples (
        bucket, resolution, job_type, due, scheduled, running, oldest_seconds, oldest_most, capped
    )
    SELECT
        date_trunc('minute', asked.at), 1, '', due.jobs, scheduled.jobs, running.jobs,
        coalesce(oldest.seconds, 0), coalesce(oldest.seconds, 0), greatest(due.jobs, scheduled.jobs) >= %(whole)s
    FROM asked
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM background_jobs AS job WHERE job.status = 'pending' AND job.scheduled_for <= asked.at
            ORDER BY job.status, job.scheduled_for
            LIMIT %(whole)s
        ) AS jobs
    ) AS due
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM background_jobs AS job WHERE job.status = 'pending' AND job.scheduled_for > asked.at
            ORDER BY job.status, job.scheduled_for
            LIMIT %(whole)s
        ) AS jobs
    ) AS scheduled
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM background_jobs AS job
        WHERE job.status = 'processing' AND asked.at IS NOT NULL
    ) AS running
    LEFT JOIN LATERAL (
        SELECT extract(epoch FROM asked.at - job.scheduled_for)::float8 AS seconds FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.scheduled_for <= asked.at
        ORDER BY job.status, job.scheduled_for LIMIT 1
    ) AS oldest ON true
    ON CONFLICT DO NOTHING
    RETURNING bucket
),
lane AS (
    (
        SELECT job_type, priority FROM background_jobs
        WHERE status = 'pending' AND EXISTS (SELECT FROM taken)
        ORDER BY job_type, priority DESC, scheduled_for LIMIT 1
    )
    UNION ALL
    SELECT following.job_type, following.priority
    FROM lane
    CROSS JOIN LATERAL (/* next_lane */
    ) AS following
),
share AS (
    SELECT greatest(1, %(lanes)s / greatest(1, count(*))) AS most FROM lane
),
part AS (
    SELECT
        lane.job_type, due.jobs AS due, scheduled.jobs AS scheduled, 0 AS running, oldest.seconds AS oldest,
        greatest(due.jobs, scheduled.jobs) >= (SELECT most FROM share) AS capped
    FROM lane
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM background_jobs AS job
            WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority = lane.priority
              AND job.scheduled_for <= now()
            ORDER BY job.job_type, job.priority DESC, job.scheduled_for
            LIMIT (SELECT most FROM share)
        ) AS jobs
    ) AS due
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM background_jobs AS job
            WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority = lane.priority
              AND job.scheduled_for > now()
            ORDER BY job.job_type, job.priority DESC, job.scheduled_for
            LIMIT (SELECT most FROM share)
        ) AS jobs
    ) AS scheduled
    LEFT JOIN LATERAL (
        SELECT extract(epoch FROM now() - job.scheduled_for)::float8 AS seconds FROM background_jobs AS job
        WHERE job.status = 'pending' AND job.job_type = ANY (ARRAY[lane.job_type]) AND job.priority = lane.priority
          AND job.scheduled_for <= now()
        ORDER BY job.job_type, job.priority DESC, job.scheduled_for LIMIT 1
    ) AS oldest ON true
    UNION ALL
    SELECT job.job_type, 0, 0, count(*), 0, false
    FROM background_jobs AS job
    WHERE job.status = 'processing' AND EXISTS (SELECT FROM taken)
    GROUP BY job.job_type
)
INSERT INTO backlog_samples (
    bucket, resolution, job_type, due, scheduled, running, oldest_seconds, oldest_most, capped
)
SELECT
    taken.bucket, 1, part.job_type, sum(part.due), sum(part.scheduled), sum(part.running),
    coalesce(max(part.oldest), 0), coalesce(max(part.oldest), 0), bool_or(part.capped)
FROM taken
CROSS JOIN part
-- By plain SQL a type may have any name; a job of none is counted in the whole.
WHERE part.job_type <> ''
GROUP BY taken.bucket, part.job_type
ON CONFLICT DO NOTHING
