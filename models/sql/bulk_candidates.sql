-- The next failed jobs of one error group, the newest first, that a bulk action is for. It looks at `examined` rows at
-- most; those that it has passed already, and those that failed after it began, are never looked at again.
-- The moment is the index's own: idx_jobs_failed_group.
SELECT job.id, job.moment, job.place
FROM (
    SELECT *, COALESCE(completed_at, created_at) AS moment, ctid::text AS place
    FROM background_jobs
    WHERE status = 'failed'
      AND fingerprint = %(group)s
      AND COALESCE(completed_at, created_at) <= %(moment)s
      AND (COALESCE(completed_at, created_at) < %(moment)s OR ctid > %(place)s::tid)
    ORDER BY fingerprint, COALESCE(completed_at, created_at) DESC
    LIMIT %(examined)s
) AS job
WHERE (%(job_types)s::text[] IS NULL OR job.job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR job.priority = ANY (%(priorities)s::int[]))
  AND (%(since)s::timestamptz IS NULL OR job.completed_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR job.completed_at < %(until)s::timestamptz)
  AND /* found_by_text */
LIMIT %(most)s
