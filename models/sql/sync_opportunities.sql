-- Stores a page's opportunities. What the source said before is not taken for newer, and who has an offer is not set back
-- to before it: the offer was made here, and the source may not know of it yet. The rows are locked by the caller, so
-- that no offer is made between this statement's look at the offers and its write.
INSERT INTO opportunities AS stored (
    id, customer_id, title, status, estimated_value, expected_close, created_at, source_updated_at
)
SELECT
    item.id,
    item.customer_id,
    item.title,
    CASE
        WHEN item.status IN ('new', 'qualified')
            AND EXISTS (SELECT FROM offers AS offer WHERE offer.opportunity_id = item.id)
        THEN 'proposal'
        ELSE item.status
    END,
    item.estimated_value,
    item.expected_close,
    coalesce(item.created_at, (SELECT known.created_at FROM opportunities AS known WHERE known.id = item.id), now()),
    item.updated_at
FROM unnest(
    %(id)s::text[], %(customer_id)s::text[], %(title)s::text[], %(status)s::text[], %(estimated_value)s::numeric[],
    %(expected_close)s::date[], %(created_at)s::timestamptz[], %(updated_at)s::timestamptz[]
) AS item (id, customer_id, title, status, estimated_value, expected_close, created_at, updated_at)
ORDER BY item.id
ON CONFLICT (id) DO UPDATE
SET customer_id = excluded.customer_id,
    title = excluded.title,
    status = excluded.status,
    estimated_value = excluded.estimated_value,
    expected_close = excluded.expected_close,
    created_at = excluded.created_at,
    source_updated_at = excluded.source_updated_at,
    -- A touch of the source that changed nothing here is no move: how urgent an offer is depends on the last one.
    updated_at = CASE
        WHEN (
            stored.customer_id, stored.title, stored.status, stored.estimated_value, stored.expected_close,
            stored.created_at
        ) IS DISTINCT FROM (
            excluded.customer_id, excluded.title, excluded.status, excluded.estimated_value, excluded.expected_close,
            excluded.created_at
        )
        THEN now()
        ELSE stored.updated_at
    END
WHERE (stored.source_updated_at IS NULL OR stored.source_updated_at <= excluded.source_updated_at)
  AND (
        stored.customer_id, stored.title, stored.status, stored.estimated_value, stored.expected_close,
        stored.created_at, stored.source_updated_at
    ) IS DISTINCT FROM (
        excluded.customer_id, excluded.title, excluded.status, excluded.estimated_value, excluded.expected_close,
        excluded.created_at, excluded.source_updated_at
    )
RETURNING xmax = 0
