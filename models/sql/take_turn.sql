-- Takes a service's next turn, if it comes soon enough; the turns of all workers follow each other at the same gap. With
-- clock_timestamp(): many turns wait for the row's lock, and the transaction's own now() is older the longer they did.
WITH turn AS MATERIALIZED (
    SELECT service, clock_timestamp() AS asked, greatest(next_turn, clock_timestamp()) AS at
    FROM services
    WHERE service = %(service)s
    FOR UPDATE
)
UPDATE services
SET next_turn = CASE
        WHEN turn.at - turn.asked > %(patience)s * interval '1 second' THEN services.next_turn
        ELSE turn.at + %(gap)s * interval '1 second'
    END
FROM turn
WHERE services.service = turn.service
RETURNING extract(epoch FROM turn.at - turn.asked)::float8
