UPDATE job_types SET start_tokens = start_tokens - %(started)s WHERE job_type = %(job_type)s
