-- Computes the figures of some days, and writes those that are new or have changed; a row whose figure is the same is
-- not touched. Rows come in the order of the key, so that two runs wait for each other instead of deadlocking.
--
-- What is won counts with its offer's amount (without an offer its estimated value, unknown as 0), on the day its CRM
-- says it closed, and never after its last change. A stage's figures come from what an opportunity is now: it stands in
-- its stage since its last change, and stood in `new` before.
WITH wanted AS (
    SELECT unnest(%(days)s::date[]) AS day
),
span AS (
    SELECT
        min(day) AS first, max(day) AS last,
        min(day)::timestamp AT TIME ZONE 'UTC' AS since, (max(day) + 1)::timestamp AT TIME ZONE 'UTC' AS until
    FROM wanted
),
deals AS (
    SELECT
        opportunity.id, opportunity.status, coalesce(customer.tier, 'none') AS tier,
        coalesce(opportunity.estimated_value, 0) AS value,
        coalesce(offer.amount, opportunity.estimated_value, 0) AS price,
        opportunity.expected_close,
        (opportunity.created_at AT TIME ZONE 'UTC')::date AS made_on,
        (greatest(opportunity.created_at, opportunity.updated_at) AT TIME ZONE 'UTC')::date AS changed_on
    FROM opportunities AS opportunity
    LEFT JOIN customers AS customer ON customer.id = opportunity.customer_id
    LEFT JOIN offers AS offer ON offer.opportunity_id = opportunity.id
),
steps AS (
    SELECT 'new' AS stage, made_on AS day, count(*) AS jobs, sum(value) AS value FROM deals GROUP BY made_on
    UNION ALL
    SELECT 'new', changed_on, -count(*), -sum(value) FROM deals GROUP BY changed_on
    UNION ALL
    SELECT status, changed_on, count(*), sum(value) FROM deals GROUP BY status, changed_on
),
found AS (
    SELECT day, 'tier' AS dimension, tier AS member, figure.measure, figure.value
    FROM (
        SELECT (created_at AT TIME ZONE 'UTC')::date AS day, tier, count(*)
        FROM customers, span
        WHERE created_at >= span.since AND created_at < span.until
        GROUP BY 1, 2
    ) AS made (day, tier, customers), LATERAL (VALUES ('new_customers', customers::numeric)) AS figure (measure, value)
    UNION ALL
    SELECT day, 'tier', tier, figure.measure, figure.value
    FROM (
        SELECT (offer.created_at AT TIME ZONE 'UTC')::date, deals.tier, count(*), sum(offer.amount)
        FROM span, offers AS offer
        JOIN deals ON deals.id = offer.opportunity_id
        WHERE offer.created_at >= span.since AND offer.created_at < span.until
        GROUP BY 1, 2
    ) AS made (day, tier, offers, amount),
    LATERAL (VALUES ('offers', offers::numeric), ('offered_value', amount)) AS figure (measure, value)
    UNION ALL
    SELECT day, 'tier', tier, figure.measure, figure.value
    FROM (
        SELECT least(expected_close, changed_on), tier, count(*), sum(price)
        FROM deals, span
        WHERE status = 'won' AND least(expected_close, changed_on) BETWEEN span.first AND span.last
        GROUP BY 1, 2
    ) AS closed (day, tier, deals, price),
    LATERAL (VALUES ('won', deals::numeric), ('won_value', price)) AS figure (measure, value)
    UNION ALL
    SELECT day, 'job_type', job_type, figure.measure, figure.value
    FROM (
        SELECT
            (bucket AT TIME ZONE 'UTC')::date, job_type, sum(completed), sum(failed), sum(retried), sum(cancelled),
            sum(run_seconds)
        FROM job_metrics, span
        WHERE bucket >= span.since AND bucket < span.until
        GROUP BY 1, 2
    ) AS ended (day, job_type, completed, failed, retried, cancelled, run_seconds),
    LATERAL (
        VALUES ('completed', completed::numeric), ('failed', failed), ('retried', retried), ('cancelled', cancelled),
            ('run_seconds', run_seconds::numeric)
    ) AS figure (measure, value)
    UNION ALL
    SELECT wanted.day, 'stage', steps.stage, figure.measure, sum(figure.value)
    FROM wanted
    JOIN steps ON steps.day <= wanted.day AND steps.stage IN ('new', 'qualified', 'proposal'),
    LATERAL (VALUES ('open', steps.jobs::numeric), ('open_value', steps.value)) AS figure (measure, value)
    GROUP BY wanted.day, steps.stage, figure.measure
    UNION ALL
    SELECT changed_on, 'stage', status, figure.measure, sum(figure.value)
    FROM span, deals, LATERAL (VALUES ('moved', 1), ('moved_value', deals.value)) AS figure (measure, value)
    WHERE changed_on BETWEEN span.first AND span.last
    GROUP BY changed_on, status, figure.measure
),
-- Every day has every figure, those of a day without events being zero.
figures AS (
    SELECT wanted.day, dimension, member, measure, round(coalesce(found.value, 0), 3) AS value
    FROM wanted
    CROSS JOIN unnest(%(dimensions)s::text[], %(members)s::text[], %(measures)s::text[]) AS each (dimension, member, measure)
    LEFT JOIN found USING (day, dimension, member, measure)
),
written AS (
    INSERT INTO analytics_daily AS kept (day, dimension, member, measure, value)
    SELECT day, dimension, member, measure, value
    FROM figures
    ORDER BY day, dimension, member, measure
    ON CONFLICT (day, dimension, member, measure) DO UPDATE
    SET value = excluded.value, updated_at = now()
    WHERE kept.value <> excluded.value
      AND CASE kept.dimension
          -- What an opportunity is now says less and less of what it was: a day's figures stand when the next is over.
          WHEN 'stage' THEN kept.day >= (now() AT TIME ZONE 'UTC')::date - 1
          -- Where the roll-up has been deleted, what was counted from it stands.
          WHEN 'job_type' THEN kept.day >= %(roll_up_since)s
          ELSE true
      END
    RETURNING 1
)
SELECT count(*) FROM written
