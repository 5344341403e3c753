-- The backlog in a period, by time step or (`by_step` false) as a whole: means over the samples, and the longest that a
-- job had been due. A step without samples has no row. `job_types` has one or more, or '' for the whole queue; a type
-- that has no row beside the queue's had no jobs then. Of several types the oldest is the oldest of any.
SELECT
    CASE WHEN %(by_step)s THEN date_bin(%(step)s * interval '1 minute', moment.bucket, 'epoch') END AS step,
    sum(moment.samples)::bigint AS samples,
    (sum(moment.due) / sum(moment.samples))::float8 AS due,
    (sum(moment.scheduled) / sum(moment.samples))::float8 AS scheduled,
    (sum(moment.running) / sum(moment.samples))::float8 AS running,
    (sum(moment.oldest_seconds) / sum(moment.samples))::float8 AS oldest_seconds,
    max(moment.oldest_most) AS oldest_most,
    bool_or(moment.capped) AS capped
FROM (
    SELECT
        bucket,
        max(samples) FILTER (WHERE job_type = '') AS samples,
        coalesce(sum(due) FILTER (WHERE wanted), 0) AS due,
        coalesce(sum(scheduled) FILTER (WHERE wanted), 0) AS scheduled,
        coalesce(sum(running) FILTER (WHERE wanted), 0) AS running,
        coalesce(max(oldest_seconds) FILTER (WHERE wanted), 0) AS oldest_seconds,
        coalesce(max(oldest_most) FILTER (WHERE wanted), 0) AS oldest_most,
        coalesce(bool_or(capped) FILTER (WHERE wanted), false) AS capped
    FROM (
        SELECT *, job_type = ANY (%(job_types)s::text[]) AS wanted
        FROM backlog_samples
        WHERE job_type = ANY (%(job_types)s::text[] || ARRAY['']) AND bucket >= %(since)s AND bucket < %(until)s
    ) AS sample
    GROUP BY bucket, resolution
) AS moment
WHERE moment.samples > 0
GROUP BY 1
ORDER BY 1
