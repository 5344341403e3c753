-- What was completed before today and not longer ago than some days, by the company's clock, and may be asked about:
-- the latest visit of each customer who was not asked lately. What was begun counts as asked. By LIMIT one by one: see
-- open_opportunities.sql.
SELECT
    appointment.id,
    appointment.customer_id,
    customer.tier
FROM appointments AS appointment
CROSS JOIN LATERAL (
    SELECT stored.tier, stored.unsubscribed_at, stored.email
    FROM customers AS stored WHERE stored.id = appointment.customer_id LIMIT 1
) AS customer
WHERE appointment.status = 'completed'
  AND appointment.review_queued_at IS NULL
  AND appointment.completed_at < date_trunc('day', now(), %(zone)s)
  AND appointment.completed_at >= date_trunc('day', now(), %(zone)s) - make_interval(days => %(days)s)
  AND customer.unsubscribed_at IS NULL
  AND customer.email <> ''
  AND (SELECT true FROM reviews AS review WHERE review.appointment_id = appointment.id LIMIT 1) IS NULL
  AND (
      SELECT true FROM messages AS message
      WHERE message.customer_id = appointment.customer_id AND message.kind = 'send_review_request'
        AND coalesce(message.sent_at, message.created_at) > now() - make_interval(days => %(again_days)s)
      LIMIT 1
  ) IS NULL
  AND (
      SELECT true FROM appointments AS later
      WHERE later.customer_id = appointment.customer_id AND later.status = 'completed'
        AND (later.completed_at, later.id) > (appointment.completed_at, appointment.id)
        AND later.completed_at < date_trunc('day', now(), %(zone)s)
      LIMIT 1
  ) IS NULL
ORDER BY appointment.completed_at DESC, appointment.id
LIMIT %(most)s
FOR UPDATE OF appointment SKIP LOCKED
