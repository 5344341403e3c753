"""What a monitoring system asks for every few seconds, in one snapshot; each statement bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from models.counters import Counters, TypeCounts
from models.payments_in_doubt import PaymentsInDoubt, payments_in_doubt
from models.reading import reading
from models.rescue import LEASE_SECONDS
from models.sql import statement
from models.stats import count_live

#: Pending jobs of a type are counted up to here: ten types with more take 50 ms.
COUNTED_UP_TO = 20_000
#: Plain SQL may write any name into `job_type`; a monitoring system keeps each for ever.
MOST_TYPES = 200
WORKER_STATES = ("working", "idle", "stopping", "silent")
BREAKER_STATES = ("closed", "half-open", "open")


@dataclass(frozen=True, slots=True)
class Scrape:
    """The queue at one moment.

    `counts` are since `counted_since`; `queue_length` is exact up to 100,000 and estimated above, `pending` of one type
    stops at 20,000; `oldest_pending_seconds` is how long the longest waiting due job has been due, 0 without one;
    `workers` by state, silent: no heartbeat for 30 s; `paused` and `held` by job type; `breakers` by service.
    """

    counted_since: datetime
    counts: dict[str, TypeCounts]
    queue_length: int
    pending: dict[str, int]
    processing: dict[str, int]
    oldest_pending_seconds: float
    workers: dict[str, int]
    paused: dict[str, bool]
    held: dict[str, bool]
    breakers: dict[str, str]
    payments: PaymentsInDoubt


def scrape(counters: Counters) -> Scrape:
    """Reads it; at most 200 job types, the first by name."""
    with reading() as connection:
        since, counts = counters.read(connection)
        types = connection.execute(
            "SELECT job_type, paused, coalesce(held_until > now(), false) FROM job_types ORDER BY job_type LIMIT %s",
            [MOST_TYPES],
        ).fetchall()
        workers = connection.execute(statement("workers"), {"lease": LEASE_SECONDS})
        assert workers.description is not None
        state = [column.name for column in workers.description].index("state")
        states = Counter(row[state] for row in workers.fetchall())
        # As in `services.service_states`: a hold that ran out is half-open.
        breakers = connection.execute(
            "SELECT service, CASE WHEN open_until <= now() THEN 'half-open' ELSE breaker END FROM services"
            " ORDER BY service LIMIT %s",
            [MOST_TYPES],
        )
        return Scrape(
            counted_since=since,
            counts={job_type: counts[job_type] for job_type in sorted(counts)[:MOST_TYPES]},
            queue_length=count_live(connection)[0],
            pending=_pending(connection),
            processing=_processing(connection),
            oldest_pending_seconds=_oldest(connection),
            workers={name: states[name] for name in WORKER_STATES},
            paused={job_type: paused for job_type, paused, _ in types},
            held={job_type: held for job_type, _, held in types},
            breakers=dict(breakers.fetchall()),
            payments=payments_in_doubt(connection),
        )


def _pending(connection: psycopg.Connection[Any]) -> dict[str, int]:
    connection.execute(statement("along_the_indexes"))
    return dict(
        connection.execute(statement("count_pending"), {"counted": COUNTED_UP_TO, "most": MOST_TYPES}).fetchall()
    )


def _processing(connection: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(
        connection.execute(
            "SELECT job_type, count(*) FROM background_jobs WHERE status = 'processing' GROUP BY 1 ORDER BY 1 LIMIT %s",
            [MOST_TYPES],
        ).fetchall()
    )


def _oldest(connection: psycopg.Connection[Any]) -> float:
    row = connection.execute(
        "SELECT coalesce(extract(epoch FROM now() - min(scheduled_for)), 0)::float8 FROM background_jobs"
        " WHERE status = 'pending' AND scheduled_for <= now()"
    ).fetchone()
    assert row is not None
    return float(row[0])
