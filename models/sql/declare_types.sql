-- What the code declares of its job types; rows that are the same already are not written again.
INSERT INTO job_types AS declared (job_type, description, payload_schema, max_retries, timeout_seconds, batch_size, services)
SELECT added.job_type, added.description, added.payload_schema::jsonb, added.max_retries, added.timeout, added.batch_size,
    string_to_array(added.services, ',')
FROM unnest(
    %(job_types)s::text[], %(descriptions)s::text[], %(schemas)s::text[], %(max_retries)s::int[],
    %(timeouts)s::float8[], %(batch_sizes)s::int[], %(services)s::text[]
) AS added (job_type, description, payload_schema, max_retries, timeout, batch_size, services)
ON CONFLICT (job_type) DO UPDATE
SET description = excluded.description,
    payload_schema = excluded.payload_schema,
    max_retries = excluded.max_retries,
    timeout_seconds = excluded.timeout_seconds,
    batch_size = excluded.batch_size,
    services = excluded.services,
    updated_at = now()
WHERE (declared.description, declared.payload_schema, declared.max_retries, declared.timeout_seconds,
       declared.batch_size, declared.services)
    IS DISTINCT FROM
      (excluded.description, excluded.payload_schema, excluded.max_retries, excluded.timeout_seconds,
       excluded.batch_size, excluded.services)
