"""What makes a PostgreSQL queue slow, seen before it does: dead rows, old transactions, missed beats, clocks apart."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd

from models.lease import UNBROKEN_GAP_SECONDS
from models.reading import frame_of, reading
from models.sql import statement

#: Dead rows hurt when they are many and a large share: the claim's index is full of their entries.
DEAD_ROWS, DEAD_SHARE = 50_000, 0.2
#: A transaction this old keeps vacuum from removing anything that died since.
OLD_TRANSACTION_SECONDS = 300.0
#: Times of two machines are compared in the logs, never in a decision.
CLOCK_SKEW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The store at one moment.

    `tables` has, for each table of the queue, `table`, `live_rows`, `dead_rows` (both estimates of PostgreSQL's),
    `dead_share`, `last_vacuum` (by hand or by autovacuum), `bytes` and `index_bytes`. `oldest_transaction_seconds` and
    `_by` (application and user, None: there is none) tell what holds vacuum back. `missed_heartbeats` are the workers
    whose last beat is too old; `clock_skew_seconds` is the database's clock minus this host's.
    """

    tables: pd.DataFrame
    oldest_transaction_seconds: float | None
    oldest_transaction_by: str | None
    missed_heartbeats: list[str]
    clock_skew_seconds: float
    warnings: list[str]


def health() -> StoreHealth:
    """Looks at PostgreSQL's own statistics and at the heartbeats; reads no job."""
    with reading() as connection:
        tables = frame_of(connection.execute(statement("table_health")))
        # Of our own sessions this one is always there.
        oldest = connection.execute(
            "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8,"
            " concat_ws(', user ', nullif(application_name, ''), usename) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            " AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
        ).fetchone()
        silent = connection.execute(
            "SELECT worker_id FROM workers WHERE stopped_at IS NULL AND beat_at < now() - %s * interval '1 second'"
            " ORDER BY beat_at",
            [UNBROKEN_GAP_SECONDS],
        ).fetchall()
        asked = time.time()
        clock = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        answered = time.time()
    assert clock is not None
    skew = clock[0] - (asked + answered) / 2
    missed = [row[0] for row in silent]
    seconds, who = oldest or (None, None)
    return StoreHealth(tables, seconds, who, missed, skew, _warnings(tables, seconds, who, missed, skew))


def _warnings(
    tables: pd.DataFrame, oldest: float | None, who: str | None, missed: list[str], skew: float
) -> list[str]:
    found = [
        f"{row['table']}: {row['dead_rows']:,} dead rows ({row['dead_share']:.0%}); autovacuum is behind or held back"
        for row in tables.to_dict("records")
        if row["dead_rows"] > DEAD_ROWS and row["dead_share"] > DEAD_SHARE
    ]
    if oldest is not None and oldest > OLD_TRANSACTION_SECONDS:
        found.append(f"a transaction is open for {oldest / 60:.0f} minutes ({who}): till it ends, dead rows stay")
    if missed:
        found.append(f"no heartbeat from {', '.join(missed[:5])}{' and others' if len(missed) > 5 else ''}")
    if abs(skew) > CLOCK_SKEW_SECONDS:
        found.append(f"the database's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's")
    return found
