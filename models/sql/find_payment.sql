-- The payment of an invoice. `untold`: this job learned that it was refused, and was killed before that was recorded as
-- the job's own end; a job that somebody retries has a failure of its own behind it, and may try again.
SELECT
    payment.id,
    payment.invoice_id,
    payment.customer_id,
    payment.amount,
    payment.currency,
    payment.payment_method,
    payment.stripe_customer,
    payment.status,
    payment.job_id,
    payment.tries,
    payment.payment_intent_id,
    payment.error_code,
    payment.status IN ('declined', 'canceled') AND coalesce(payment.job_id = %(job_id)s::text, FALSE) AND NOT EXISTS (
        SELECT
        FROM job_failures AS failure
        WHERE failure.job_id = payment.job_id AND failure.failed_at >= payment.updated_at
            AND failure.error_class NOT IN ('WorkerLost', 'LeaseLost')
    ) AS untold
FROM payments AS payment
WHERE payment.invoice_id = %(invoice_id)s
