-- What may be offered for locked opportunities: the customer of each, the best promotion for them, and the offer if there
-- is one. The best: active, for the customer's tier or for all, from a value and an age that the opportunity reaches; of
-- these the highest discount, and of equals the first by id. By LIMIT one by one: see open_opportunities.sql.
SELECT
    wanted.opportunity_id,
    customer.tier,
    nullif(btrim(customer.email), '') AS email,
    customer.unsubscribed_at IS NOT NULL AS unsubscribed,
    offer.id AS offer_id,
    best.id AS promotion_id,
    best.discount_percent
FROM unnest(
    %(opportunity_ids)s::text[], %(customer_ids)s::text[], %(values)s::numeric[], %(created_at)s::timestamptz[]
) AS wanted (opportunity_id, customer_id, value, created_at)
LEFT JOIN LATERAL (
    SELECT stored.tier, stored.email, stored.unsubscribed_at
    FROM customers AS stored WHERE stored.id = wanted.customer_id LIMIT 1
) AS customer ON true
LEFT JOIN LATERAL (
    SELECT stored.id FROM offers AS stored WHERE stored.opportunity_id = wanted.opportunity_id LIMIT 1
) AS offer ON true
LEFT JOIN LATERAL (
    SELECT promotion.id, promotion.discount_percent
    FROM promotions AS promotion
    WHERE promotion.active
      AND (promotion.tier IS NULL OR promotion.tier = customer.tier)
      AND promotion.minimum_value <= wanted.value
      AND wanted.created_at <= now() - make_interval(days => promotion.minimum_age_days)
    ORDER BY promotion.discount_percent DESC, promotion.id
    LIMIT 1
) AS best ON true
