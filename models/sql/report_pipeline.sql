-- The open opportunities as they stand now, by stage, tier and age (`age_from`: the first day of the age group).
SELECT
    opportunity.status AS stage, coalesce(customer.tier, 'none') AS tier, age.age_from,
    count(*) AS opportunities,
    coalesce(sum(opportunity.estimated_value), 0)::float8 AS value,
    count(*) FILTER (WHERE opportunity.expected_close < (now() AT TIME ZONE 'UTC')::date) AS overdue
FROM opportunities AS opportunity
LEFT JOIN customers AS customer ON customer.id = opportunity.customer_id
CROSS JOIN LATERAL (
    SELECT coalesce(max(age_from), 0) AS age_from
    FROM unnest(%(ages)s::int[]) AS age_from
    WHERE opportunity.created_at <= now() - make_interval(days => age_from)
) AS age
WHERE opportunity.status IN ('new', 'qualified', 'proposal')
GROUP BY 1, 2, 3
