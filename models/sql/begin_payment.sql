-- The row of an invoice's payment, unless it is there already; none where there is no such customer.
INSERT INTO payments (invoice_id, customer_id, amount, currency, payment_method, stripe_customer, job_id)
SELECT
    %(invoice_id)s::text, customer.id, %(amount)s::numeric, %(currency)s::text, %(payment_method)s::text,
    %(stripe_customer)s::text, %(job_id)s::text
FROM customers AS customer
WHERE customer.id = %(customer_id)s
ON CONFLICT (invoice_id) DO NOTHING
