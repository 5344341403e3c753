-- Writes the offers and moves their opportunities on; of those that have an offer already, no row comes back.
WITH made AS (
    INSERT INTO offers (id, opportunity_id, promotion_id, amount, discount_percent)
    SELECT *
    FROM unnest(
        %(offer_ids)s::text[], %(opportunity_ids)s::text[], %(promotion_ids)s::text[], %(amounts)s::numeric[],
        %(discounts)s::numeric[]
    )
    ON CONFLICT (opportunity_id) DO NOTHING
    RETURNING id, opportunity_id
)
UPDATE opportunities AS opportunity
SET status = 'proposal', updated_at = now()
FROM made
WHERE opportunity.id = made.opportunity_id
RETURNING made.opportunity_id, made.id
