-- Stores a page's customers. What the source said before is not taken for newer; an unsubscription is never taken back.
INSERT INTO customers AS stored (id, name, email, tier, unsubscribed_at, created_at, source_updated_at)
SELECT
    item.id,
    item.name,
    item.email,
    item.tier,
    item.unsubscribed_at,
    -- A record's age is known once. A sub-select, as it is run only where the source does not say.
    coalesce(item.created_at, (SELECT known.created_at FROM customers AS known WHERE known.id = item.id), now()),
    item.updated_at
FROM unnest(
    %(id)s::text[], %(name)s::text[], %(email)s::text[], %(tier)s::text[], %(unsubscribed_at)s::timestamptz[],
    %(created_at)s::timestamptz[], %(updated_at)s::timestamptz[]
) AS item (id, name, email, tier, unsubscribed_at, created_at, updated_at)
ORDER BY item.id
ON CONFLICT (id) DO UPDATE
SET name = excluded.name,
    email = excluded.email,
    tier = excluded.tier,
    unsubscribed_at = coalesce(stored.unsubscribed_at, excluded.unsubscribed_at),
    created_at = excluded.created_at,
    source_updated_at = excluded.source_updated_at,
    -- A touch of the source that changed nothing here is no change of ours.
    updated_at = CASE
        WHEN (stored.name, stored.email, stored.tier, stored.unsubscribed_at, stored.created_at) IS DISTINCT FROM
            (
                excluded.name, excluded.email, excluded.tier,
                coalesce(stored.unsubscribed_at, excluded.unsubscribed_at), excluded.created_at
            )
        THEN now()
        ELSE stored.updated_at
    END
WHERE (stored.source_updated_at IS NULL OR stored.source_updated_at <= excluded.source_updated_at)
  AND (
        stored.name, stored.email, stored.tier, stored.unsubscribed_at, stored.created_at, stored.source_updated_at
    ) IS DISTINCT FROM (
        excluded.name, excluded.email, excluded.tier, coalesce(stored.unsubscribed_at, excluded.unsubscribed_at),
        excluded.created_at, excluded.source_updated_at
    )
-- A row that was just inserted has no deleting transaction yet; one that was updated has this one.
RETURNING xmax = 0
