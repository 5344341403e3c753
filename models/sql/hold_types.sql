-- Writes down that a service's breaker is open, and holds the types that need it. A longer hold, by another service or
-- another worker, stays. The rows come in the order of their names, so that two workers' holds wait for each other.
WITH opened AS (
    INSERT INTO services AS known (service, breaker, open_until, reason)
    VALUES (%(service)s, 'open', now() + %(seconds)s * interval '1 second', %(reason)s)
    ON CONFLICT (service) DO UPDATE
    SET breaker = 'open',
        changed_at = CASE WHEN known.breaker = 'closed' THEN now() ELSE known.changed_at END,
        open_until = greatest(known.open_until, excluded.open_until),
        reason = excluded.reason
    RETURNING known.service, known.open_until, known.reason
),
needing AS (
    SELECT declared.job_type
    FROM job_types AS declared
    WHERE %(service)s = ANY (declared.services)
    ORDER BY declared.job_type
    FOR UPDATE
)
UPDATE job_types AS declared
SET held_until = greatest(declared.held_until, opened.open_until),
    held_reason = CASE
        WHEN declared.held_until > opened.open_until THEN declared.held_reason
        ELSE format('%%s is not answering: %%s', opened.service, opened.reason)
    END
FROM needing, opened
WHERE declared.job_type = needing.job_type
RETURNING declared.job_type
