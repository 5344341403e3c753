-- Begins a pass, or takes up the one that is under way.
UPDATE crm_sync_state
SET job_id = %(job_id)s,
    running = true,
    since = CASE WHEN %(anew)s THEN NULL WHEN running THEN since ELSE synced_until - %(overlap)s * interval '1 second' END,
    cursor = CASE WHEN running AND NOT %(anew)s THEN cursor END,
    pages = CASE WHEN running AND NOT %(anew)s THEN pages ELSE 0 END,
    newest = CASE WHEN running AND NOT %(anew)s THEN newest END,
    counts = CASE WHEN running AND NOT %(anew)s THEN counts ELSE '{}'::jsonb END,
    synced_until = CASE WHEN NOT %(anew)s THEN synced_until END,
    etag = CASE WHEN NOT %(anew)s THEN etag END,
    began_at = CASE WHEN running AND NOT %(anew)s THEN began_at ELSE now() END,
    ended_at = CASE WHEN running AND NOT %(anew)s THEN ended_at END
WHERE source = %(source)s AND resource = %(resource)s
RETURNING since, cursor, pages, CASE WHEN pages = 0 AND cursor IS NULL THEN etag END, counts, now()
