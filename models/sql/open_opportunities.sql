-- The open opportunities that have no offer yet, the most valuable first. Those that no promotion fits come last: they
-- are back every hour, and first in line 500 of them would keep all others out.
SELECT
    opportunity.id,
    opportunity.estimated_value,
    opportunity.expected_close,
    opportunity.created_at,
    opportunity.updated_at,
    customer.tier,
    (now() AT TIME ZONE 'UTC')::date AS today
FROM opportunities AS opportunity
LEFT JOIN customers AS customer ON customer.id = opportunity.customer_id
WHERE opportunity.status IN ('new', 'qualified', 'proposal')
  AND NOT EXISTS (SELECT FROM offers AS offer WHERE offer.opportunity_id = opportunity.id)
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
