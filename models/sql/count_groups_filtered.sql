-- Failed jobs by error group, of those that pass a filter; it looks at the `examined` newest failed ones of the period.
SELECT job.fingerprint, count(*)
FROM (
    SELECT *
    FROM background_jobs
    WHERE status = 'failed'
      AND (%(since)s::timestamptz IS NULL OR completed_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR completed_at < %(until)s::timestamptz)
    ORDER BY completed_at DESC
    LIMIT %(examined)s
) AS job
WHERE (%(fingerprint)s::text IS NULL OR job.fingerprint = %(fingerprint)s::text)
  AND (%(job_types)s::text[] IS NULL OR job.job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR job.priority = ANY (%(priorities)s::int[]))
  AND /* found_by_text */
GROUP BY job.fingerprint
