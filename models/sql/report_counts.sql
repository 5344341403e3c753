-- What came in during a period, and what was open at its end: made before, and still open or changed only afterwards.
SELECT
    (SELECT count(*) FROM customers WHERE created_at >= %(since)s AND created_at < %(until)s) AS new_customers,
    made.offers, made.offered_value, standing.open, standing.open_value
FROM
    (
        SELECT count(*) AS offers, coalesce(sum(amount), 0)::float8 AS offered_value
        FROM offers WHERE created_at >= %(since)s AND created_at < %(until)s
    ) AS made,
    (
        SELECT count(*) AS open, coalesce(sum(estimated_value), 0)::float8 AS open_value
        FROM opportunities
        WHERE created_at < %(until)s
          AND (status IN ('new', 'qualified', 'proposal') OR updated_at >= %(until)s)
    ) AS standing
