-- How the try with this intent stands; what is paid stays paid. As long as it is in doubt, updated_at stays since when.
UPDATE payments SET
    status = %(status)s::text,
    paid_at = CASE WHEN %(status)s::text = 'succeeded' THEN now() END,
    charge_id = %(charge_id)s,
    error_code = %(error_code)s,
    job_id = coalesce(%(job_id)s::text, job_id),
    updated_at = CASE
        WHEN status IN ('unknown', 'processing') AND %(status)s::text IN ('unknown', 'processing') THEN updated_at
        ELSE now()
    END
WHERE id = %(id)s AND payment_intent_id = %(payment_intent_id)s AND status NOT IN ('succeeded', 'refunded')
RETURNING extract(EPOCH FROM now() - updated_at)::float8
