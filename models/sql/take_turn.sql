-- Takes a service's next turn, if it comes soon enough; the turns of all workers follow each other at the same gap. With
-- clock_timestamp(): many turns wait for the row's lock, and the transaction's own now() is older the longer they did.
WITH asked AS (
    INSERT INTO services AS known (service, next_turn)
    VALUES (%(service)s, clock_timestamp() + %(gap)s * interval '1 second')
    ON CONFLICT (service) DO UPDATE
    SET next_turn = CASE
        WHEN known.next_turn > clock_timestamp() + %(patience)s * interval '1 second' THEN known.next_turn
        ELSE greatest(known.next_turn, clock_timestamp()) + %(gap)s * interval '1 second'
    END
    RETURNING next_turn
)
SELECT extract(epoch FROM next_turn - clock_timestamp())::float8 - %(gap)s FROM asked
