-- Another try, with what this job says; no row when somebody else was first, or it is paid.
UPDATE payments SET
    customer_id = %(customer_id)s,
    amount = %(amount)s,
    currency = %(currency)s,
    payment_method = %(payment_method)s,
    stripe_customer = %(stripe_customer)s,
    status = 'pending',
    job_id = %(job_id)s,
    tries = tries + 1,
    payment_intent_id = NULL,
    earlier_intents = CASE
        WHEN payment_intent_id IS NULL THEN earlier_intents
        ELSE array_append(earlier_intents, payment_intent_id)
    END,
    charge_id = NULL,
    error_code = NULL,
    updated_at = now()
WHERE id = %(id)s AND tries = %(tries)s AND status NOT IN ('succeeded', 'refunded')
RETURNING id
