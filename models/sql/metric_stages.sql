-- The seconds of the stages of an attempt, by job type, and the attempts they were measured over.
SELECT
    job_type,
    sum((stage_micros ->> 'fetch')::bigint) / 1e6::float8 AS fetch,
    sum((stage_micros ->> 'work')::bigint) / 1e6::float8 AS work,
    sum((stage_micros ->> 'record')::bigint) / 1e6::float8 AS record,
    sum(completed + failed + retried)::float8 AS attempts
FROM job_metrics
WHERE bucket >= %(since)s AND bucket < %(until)s
  AND stage_micros <> '{}'
  AND (%(job_types)s::text[] IS NULL OR job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR priority = ANY (%(priorities)s::int[]))
GROUP BY job_type
