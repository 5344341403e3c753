-- The open opportunities that have no offer yet, the most valuable first. Those that no promotion fits come last: they
-- are back every hour, and first in line 500 of them would keep all others out. By LIMIT one by one: else all may be
-- compared with all, when autovacuum came in the middle of an import (see finish_jobs.sql).
SELECT
    opportunity.id,
    opportunity.estimated_value,
    opportunity.expected_close,
    opportunity.created_at,
    opportunity.updated_at,
    customer.tier,
    (now() AT TIME ZONE 'UTC')::date AS today
FROM opportunities AS opportunity
LEFT JOIN LATERAL (
    SELECT stored.tier FROM customers AS stored WHERE stored.id = opportunity.customer_id LIMIT 1
) AS customer ON true
WHERE opportunity.status IN ('new', 'qualified', 'proposal')
  AND (SELECT true FROM offers AS offer WHERE offer.opportunity_id = opportunity.id LIMIT 1) IS NULL
ORDER BY
    EXISTS (
        SELECT FROM promotions AS promotion
        WHERE promotion.active
          AND (promotion.tier IS NULL OR promotion.tier = customer.tier)
          AND promotion.minimum_value <= coalesce(opportunity.estimated_value, 0)
          AND opportunity.created_at <= now() - make_interval(days => promotion.minimum_age_days)
    ) DESC,
    opportunity.estimated_value DESC NULLS LAST,
    opportunity.id
LIMIT %(most)s
