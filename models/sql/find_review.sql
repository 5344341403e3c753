-- What a review's link leads to. An appointment that went to another customer since, or is no longer completed, has
-- nothing to be reviewed by this one.
SELECT
    appointment.id,
    customer.name,
    appointment.service,
    appointment.completed_at,
    review.appointment_id IS NOT NULL AS reviewed,
    now() >= to_timestamp(%(expires)s) AS expired
FROM appointments AS appointment
JOIN customers AS customer ON customer.id = appointment.customer_id
LEFT JOIN reviews AS review ON review.appointment_id = appointment.id
WHERE appointment.id = %(appointment_id)s AND appointment.customer_id = %(customer_id)s
  AND appointment.status = 'completed'
