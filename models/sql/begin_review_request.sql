-- Writes down that a customer is about to be asked for a review, unless another request went out, or was begun, in the
-- last days. Its caller holds the customer's row: of two at once, the second one sees what the first has begun.
WITH lately AS (
    SELECT FROM messages
    WHERE customer_id = %(customer_id)s AND kind = %(kind)s AND subject_id <> %(subject_id)s
      AND coalesce(sent_at, created_at) > now() - make_interval(days => %(again_days)s)
), begun AS (
    INSERT INTO messages (id, customer_id, kind, subject_id, channel)
    SELECT %(id)s, %(customer_id)s, %(kind)s, %(subject_id)s, 'smtp'
    WHERE NOT EXISTS (SELECT FROM lately)
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT EXISTS (SELECT FROM lately) AS asked_lately, EXISTS (SELECT FROM begun) AS begun
