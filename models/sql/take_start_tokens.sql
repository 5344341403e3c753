-- Locks the row of a limited job type and refills its start tokens: up to one second's worth (at least one), so that a
-- burst after a pause stays small.
UPDATE job_types
SET start_tokens = coalesce(least(
        greatest(starts_per_second, 1),
        start_tokens + extract(epoch FROM now() - tokens_at) * starts_per_second
    ), 0),
    tokens_at = now()
WHERE job_type = %(job_type)s
RETURNING max_running, CASE WHEN starts_per_second IS NOT NULL THEN floor(start_tokens)::int END
