-- Whether a job (`job`) has a text in its error message or in what everybody may see of its payload: a top field that
-- is masked, or has something masked inside, is left out (models/text_search.py). Put into other statements.
(%(pattern)s::text IS NULL
 OR job.error_message ILIKE %(pattern)s::text
 -- What is dear comes last: 2 µs for a payload of 100 bytes, 10 µs where fields are left out.
 OR job.payload::text ILIKE %(pattern)s::text
    AND CASE
        WHEN NOT %(secret_fields)s::jsonb ? job.job_type AND job.payload::text !~* %(secret_name)s::text THEN true
        WHEN jsonb_typeof(job.payload) <> 'object' THEN false
        ELSE (job.payload - ARRAY(
            SELECT field.key
            FROM jsonb_each(job.payload) AS field
            CROSS JOIN LATERAL (
                SELECT
                    to_json(field.key)::text || ': ' || field.value::text AS text,
                    %(secret_fields)s::jsonb -> job.job_type AS type
            ) AS written
            WHERE written.text ~* %(secret_name)s::text
               OR written.type -> 'all' = 'true'
               OR written.type -> 'names' ? field.key
               OR written.type -> 'digits' = 'true'
                  AND regexp_replace(regexp_replace(written.text, %(uuid)s::text, '', 'gi'), '[ .-]', '', 'g')
                      ~ %(card_digits)s::text
        ))::text ILIKE %(pattern)s::text
    END)
