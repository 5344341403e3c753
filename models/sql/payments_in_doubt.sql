-- Payments of which nobody knows yet whether the money was taken, counted up to a bound, the oldest first: those that a
-- job asks Stripe about, and those that no job does. `updated_at` is since when: see settle_payment.sql.
SELECT
    doubt.asked,
    count(*) AS payments,
    count(*) FILTER (WHERE doubt.since < now() - %(late)s * interval '1 second') AS late,
    extract(EPOCH FROM now() - min(doubt.since))::float8 AS oldest_seconds,
    (array_agg(doubt.invoice_id ORDER BY doubt.since))[1] AS oldest_invoice_id,
    (array_agg(doubt.job_id ORDER BY doubt.since))[1] AS oldest_job_id
FROM (
    SELECT
        payment.updated_at AS since, payment.invoice_id, job.id AS job_id,
        coalesce(job.status IN ('pending', 'processing'), FALSE) AS asked
    FROM (
        SELECT updated_at, invoice_id, job_id FROM payments
        WHERE status IN ('unknown', 'processing')
        ORDER BY updated_at
        LIMIT %(counted)s
    ) AS payment
    LEFT JOIN background_jobs AS job ON job.id = ANY (ARRAY[payment.job_id])  -- see finish_jobs.sql
) AS doubt
GROUP BY doubt.asked
