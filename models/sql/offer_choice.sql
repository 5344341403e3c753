-- What may be offered for a locked opportunity: its customer, the best promotion for them, and the offer if there is one.
-- The best: active, for the customer's tier or for all, from a value the opportunity reaches; of these the highest
-- discount, and of equals the first by id.
SELECT
    customer.tier,
    nullif(btrim(customer.email), '') AS email,
    customer.unsubscribed_at IS NOT NULL AS unsubscribed,
    offer.id AS offer_id,
    best.id AS promotion_id,
    best.discount_percent
FROM (
    VALUES (%(opportunity_id)s::text, %(customer_id)s::text, %(value)s::numeric)
) AS wanted (opportunity_id, customer_id, value)
LEFT JOIN customers AS customer ON customer.id = wanted.customer_id
LEFT JOIN offers AS offer ON offer.opportunity_id = wanted.opportunity_id
LEFT JOIN LATERAL (
    SELECT promotion.id, promotion.discount_percent
    FROM promotions AS promotion
    WHERE promotion.active
      AND (promotion.tier IS NULL OR promotion.tier = customer.tier)
      AND promotion.minimum_value <= wanted.value
    ORDER BY promotion.discount_percent DESC, promotion.id
    LIMIT 1
) AS best ON true
