-- All that a promotion's mail needs of its customer, in one look; what is missing is NULL. An offer counts only if it is
-- this customer's and for this promotion, so that nobody reads another's price.
SELECT
    customer.name,
    customer.email,
    customer.unsubscribed_at IS NOT NULL AS unsubscribed,
    offer.id AS offer_id,
    offer.discount_percent,
    offer.amount,
    message.sent_at IS NOT NULL AS sent
FROM (
    VALUES (%(customer_id)s::text, %(promotion_id)s::text, %(opportunity_id)s::text, %(kind)s::text)
) AS wanted (customer_id, promotion_id, opportunity_id, kind)
LEFT JOIN customers AS customer ON customer.id = wanted.customer_id
LEFT JOIN opportunities AS opportunity
    ON opportunity.id = wanted.opportunity_id AND opportunity.customer_id = wanted.customer_id
LEFT JOIN offers AS offer ON offer.opportunity_id = opportunity.id AND offer.promotion_id = wanted.promotion_id
LEFT JOIN messages AS message
    ON message.customer_id = wanted.customer_id AND message.kind = wanted.kind
    AND message.subject_id = wanted.promotion_id
