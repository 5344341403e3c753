-- The appointments that start soon and for which no reminder was queued at this time, the next ones first. Locked until
-- they are marked: of two runs at once, each takes others. By LIMIT one by one: see open_opportunities.sql.
SELECT
    appointment.id,
    appointment.customer_id,
    customer.tier,
    appointment.starts_at,
    appointment.id || ' ' || to_char(appointment.starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM appointments AS appointment
CROSS JOIN LATERAL (
    SELECT stored.tier FROM customers AS stored WHERE stored.id = appointment.customer_id LIMIT 1
) AS customer
WHERE appointment.status = 'scheduled'
  AND appointment.reminder_queued_for IS DISTINCT FROM appointment.starts_at
  AND appointment.starts_at > now()
  AND appointment.starts_at <= now() + make_interval(secs => %(hours)s * 3600)
ORDER BY appointment.starts_at, appointment.id
LIMIT %(most)s
FOR UPDATE OF appointment SKIP LOCKED
