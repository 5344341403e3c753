-- Notes that a message is about to go out; no row comes back when it went out already.
INSERT INTO messages AS message (id, customer_id, kind, subject_id, channel)
VALUES (%(id)s, %(customer_id)s, %(kind)s, %(subject_id)s, %(channel)s)
ON CONFLICT (id) DO UPDATE SET channel = excluded.channel WHERE message.sent_at IS NULL
RETURNING id
