-- Locks opportunities in the order of their ids, as two batches may share some.
SELECT id, status, customer_id, estimated_value, created_at
FROM opportunities
WHERE id = ANY (%(ids)s::text[])
ORDER BY id
FOR UPDATE
