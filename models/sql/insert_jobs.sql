-- Adds jobs and says for each which row stands for it: its own, or the live one that has its unique key already.
-- A key taken by a transaction that has not committed is waited for; if its job was gone by then, no row comes back
-- and the caller asks again. The other way round, a holder that ends while this runs is still seen by the last part:
-- what was added stands for itself.
WITH wanted AS (
    SELECT *
    FROM unnest(
        %(ids)s::text[], %(job_types)s::text[], %(payloads)s::text[], %(priorities)s::int[], %(max_retries)s::int[],
        %(scheduled_for)s::timestamptz[], %(unique_keys)s::text[]
    ) AS job (id, job_type, payload, priority, max_retries, scheduled_for, unique_key)
),
added AS (
    INSERT INTO background_jobs (id, job_type, payload, priority, max_retries, scheduled_for, unique_key)
    SELECT id, job_type, payload::jsonb, priority, max_retries, coalesce(scheduled_for, now()), unique_key
    FROM wanted
    ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'processing') DO NOTHING
    RETURNING id
)
SELECT id, id FROM added
UNION ALL
SELECT wanted.id, holder.id
FROM wanted
-- Key by key, by LIMIT: else each live job's key may be compared with each that is wanted (see finish_jobs.sql).
CROSS JOIN LATERAL (
    SELECT job.id
    FROM background_jobs AS job
    WHERE job.unique_key = wanted.unique_key AND job.status IN ('pending', 'processing')
    LIMIT 1
) AS holder
WHERE wanted.unique_key IS NOT NULL
  AND wanted.id NOT IN (SELECT added.id FROM added)
