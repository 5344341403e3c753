-- Notes what was left out; `most` a source in all, so that a source gone wrong does not fill the disk.
INSERT INTO crm_sync_rejects AS known (source, resource, item, field, reason, value)
SELECT %(source)s, %(resource)s, reject.item, reject.field, reject.reason, reject.value
FROM unnest(%(item)s::text[], %(field)s::text[], %(reason)s::text[], %(value)s::text[])
    AS reject (item, field, reason, value)
WHERE (SELECT count(*) FROM crm_sync_rejects AS noted WHERE noted.source = %(source)s) < %(most)s
   OR EXISTS (
        SELECT FROM crm_sync_rejects AS noted
        WHERE (noted.source, noted.resource, noted.item) = (%(source)s, %(resource)s, reject.item)
    )
ORDER BY reject.item
ON CONFLICT (source, resource, item) DO UPDATE
SET field = excluded.field, reason = excluded.reason, value = excluded.value, last_seen = now()
