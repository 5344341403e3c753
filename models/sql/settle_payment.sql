-- How the try with this intent stands; what is paid stays paid.
UPDATE payments SET
    status = %(status)s::text,
    paid_at = CASE WHEN %(status)s::text = 'succeeded' THEN now() END,
    charge_id = %(charge_id)s,
    error_code = %(error_code)s,
    job_id = coalesce(%(job_id)s::text, job_id),
    updated_at = now()
WHERE id = %(id)s AND payment_intent_id = %(payment_intent_id)s AND status NOT IN ('succeeded', 'refunded')
