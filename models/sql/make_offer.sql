-- Writes the offer and moves its opportunity on, or does neither: no row comes back when there is an offer already.
WITH made AS (
    INSERT INTO offers (id, opportunity_id, promotion_id, amount, discount_percent)
    VALUES (%(offer_id)s, %(opportunity_id)s, %(promotion_id)s, %(amount)s, %(discount_percent)s)
    ON CONFLICT (opportunity_id) DO NOTHING
    RETURNING id
)
UPDATE opportunities AS opportunity
SET status = 'proposal', updated_at = now()
FROM made
WHERE opportunity.id = %(opportunity_id)s
RETURNING made.id
