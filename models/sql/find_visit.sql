-- All that the request for a review needs of its appointment and customer, in one look.
SELECT
    appointment.status,
    appointment.service,
    appointment.completed_at,
    EXISTS (
        SELECT FROM messages AS message
        WHERE message.customer_id = appointment.customer_id AND message.kind = 'send_review_request'
          AND message.subject_id = appointment.id AND message.sent_at IS NOT NULL
    ) AS sent,
    EXISTS (SELECT FROM reviews AS review WHERE review.appointment_id = appointment.id) AS reviewed,
    now() + make_interval(days => %(link_days)s),
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
WHERE appointment.id = %(id)s
