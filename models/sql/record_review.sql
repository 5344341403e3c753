-- Writes a review, the first one only and in time; no row: nothing to be reviewed by this customer.
WITH asked AS (
    SELECT appointment.id, now() >= to_timestamp(%(expires)s) AS expired
    FROM appointments AS appointment
    WHERE appointment.id = %(appointment_id)s AND appointment.customer_id = %(customer_id)s
      AND appointment.status = 'completed'
), added AS (
    INSERT INTO reviews (appointment_id, rating, comment)
    SELECT id, %(rating)s, %(comment)s FROM asked WHERE NOT expired
    ON CONFLICT (appointment_id) DO NOTHING
    RETURNING appointment_id
)
SELECT EXISTS (SELECT FROM added) AS recorded, expired FROM asked
