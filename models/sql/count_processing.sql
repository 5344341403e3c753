SELECT count(*) FROM background_jobs WHERE status = 'processing' AND job_type = ANY (%(job_types)s::text[])
