-- All that a reminder needs of its appointment and customer, in one look.
SELECT
    appointment.status,
    appointment.service,
    appointment.starts_at,
    reminder.subject_id,
    EXISTS (
        SELECT FROM messages AS message
        WHERE message.customer_id = appointment.customer_id AND message.kind = 'send_reminder'
          AND message.subject_id = reminder.subject_id AND message.sent_at IS NOT NULL
    ) AS sent,
    now(),
    customer.id,
    customer.name,
    customer.email,
    customer.phone,
    customer.channel,
    customer.webhook_url,
    customer.time_zone,
    customer.quiet_from,
    customer.quiet_until,
    customer.unsubscribed_at IS NOT NULL AS unsubscribed
FROM appointments AS appointment
JOIN customers AS customer ON customer.id = appointment.customer_id
CROSS JOIN LATERAL (
    SELECT appointment.id || ' ' || to_char(appointment.starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
) AS reminder (subject_id)
WHERE appointment.id = %(id)s
