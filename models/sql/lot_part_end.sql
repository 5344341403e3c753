-- Where a part of a lot ends: a number of others, of all jobs, after its first id.
SELECT id FROM background_jobs WHERE id <= %(begin)s ORDER BY id DESC OFFSET %(others)s LIMIT 1
