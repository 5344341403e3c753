-- Writes down that a service answers again, and ends the holds on the types that need no other service that is down. The
-- table's trigger wakes the idle workers.
WITH closed AS (
    UPDATE services SET breaker = 'closed', changed_at = now(), open_until = NULL
    WHERE service = %(service)s AND breaker <> 'closed'
),
waiting AS (
    SELECT declared.job_type
    FROM job_types AS declared
    WHERE %(service)s = ANY (declared.services)
      AND declared.held_until IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM services AS other
          WHERE other.service = ANY (declared.services)
            AND other.service <> %(service)s
            AND other.open_until > now()
      )
    ORDER BY declared.job_type
    FOR UPDATE
)
UPDATE job_types AS declared
SET held_until = NULL, held_reason = NULL
FROM waiting
WHERE declared.job_type = waiting.job_type
