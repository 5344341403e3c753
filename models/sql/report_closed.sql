-- What was won and lost, by step and tier, in a report's period and the one before it (`current` tells them apart). What
-- is won counts with its offer's amount (without an offer its estimated value, unknown as 0), on the day its CRM says it
-- closed, and never after its last change: as in update_analytics.
WITH closed AS (
    SELECT
        opportunity.status, coalesce(customer.tier, 'none') AS tier,
        coalesce(offer.amount, opportunity.estimated_value, 0) AS price,
        least(
            opportunity.expected_close,
            (greatest(opportunity.created_at, opportunity.updated_at) AT TIME ZONE 'UTC')::date
        ) AS day
    FROM opportunities AS opportunity
    LEFT JOIN customers AS customer ON customer.id = opportunity.customer_id
    LEFT JOIN offers AS offer ON offer.opportunity_id = opportunity.id
    WHERE opportunity.status IN ('won', 'lost')
)
SELECT
    day >= %(first)s AS current, date_trunc(%(step)s, day::timestamp)::date::text AS step, tier,
    count(*) FILTER (WHERE status = 'won') AS won,
    count(*) FILTER (WHERE status = 'lost') AS lost,
    coalesce(sum(price) FILTER (WHERE status = 'won'), 0)::float8 AS revenue
FROM closed
WHERE day BETWEEN %(before)s AND %(last)s
GROUP BY 1, 2, 3
