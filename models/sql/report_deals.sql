-- The largest deals won in a period, by the same rules as report_closed.
SELECT
    closed.day::text AS day, closed.id AS opportunity, closed.title, customer.name AS customer,
    coalesce(customer.tier, 'none') AS tier, closed.price::float8 AS revenue
FROM (
    SELECT
        opportunity.id, opportunity.title, opportunity.customer_id,
        coalesce(offer.amount, opportunity.estimated_value, 0) AS price,
        least(
            opportunity.expected_close,
            (greatest(opportunity.created_at, opportunity.updated_at) AT TIME ZONE 'UTC')::date
        ) AS day
    FROM opportunities AS opportunity
    LEFT JOIN offers AS offer ON offer.opportunity_id = opportunity.id
    WHERE opportunity.status = 'won'
) AS closed
LEFT JOIN customers AS customer ON customer.id = closed.customer_id
WHERE closed.day BETWEEN %(first)s AND %(last)s
ORDER BY closed.price DESC, closed.id
LIMIT %(most)s
