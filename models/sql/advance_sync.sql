-- The page is stored: on to the next, or the pass is over. An ETag is kept when the pass was this one page and the next
-- pass will ask the same again, as it brought nothing newer.
UPDATE crm_sync_state
SET cursor = %(next)s,
    pages = pages + 1,
    newest = greatest(newest, %(newest)s::timestamptz),
    counts = %(counts)s,
    running = %(next)s::text IS NOT NULL,
    ended_at = CASE WHEN %(next)s::text IS NULL THEN now() END,
    synced_until = CASE
        WHEN %(next)s::text IS NULL THEN greatest(synced_until, newest, %(newest)s::timestamptz)
        ELSE synced_until
    END,
    etag = CASE
        WHEN %(next)s::text IS NULL AND pages = 0
            AND since IS NOT DISTINCT FROM
                greatest(synced_until, %(newest)s::timestamptz) - %(overlap)s * interval '1 second'
        THEN %(etag)s::text
    END
WHERE source = %(source)s AND resource = %(resource)s
