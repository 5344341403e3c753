"""What waits: how much, how long already, and how long until it is done. Counts are bounded by index probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import psycopg

from models.filters import JobFilter
from models.priority import HIGHEST_PRIORITY, LOWEST_PRIORITY
from models.reading import fetch, frame_of, reading
from models.sql import statement

#: A count stops here: 10,000 jobs or more are shown as "10k+".
COUNTED_UP_TO = 10_000
#: All counts of one look together: 200,000 index entries take about 30 ms.
COUNTED_ALTOGETHER = 200_000
#: Lower ends of the classes of age, in seconds.
AGES = {
    "under 10 s": 0.0, "10 s to 1 min": 10.0, "1 to 5 min": 60.0, "5 to 15 min": 300.0, "15 min to 1 h": 900.0,
    "1 to 6 h": 3600.0, "6 h to 1 day": 21_600.0, "over a day": 86_400.0,
}  # fmt: skip
#: Rates are taken over these spans, in seconds; the two make the range.
SHORT_SPAN, LONG_SPAN = 300, 900
#: Arrivals are counted up to here: about 10 ms.
ARRIVALS_COUNTED = 50_000
#: Pending and due jobs are counted up to here (about 10 ms along the index). Above, what is pending is estimated from
#: PostgreSQL's statistics of the claim's index ...
DUE_COUNTED = 100_000
#: ... and which share of it is due from a sample of so many pages: 8 MB, some 20,000 rows, 3 ms when they are cached.
SAMPLED_PAGES = 1_000
_NO_FILTER = JobFilter()


@dataclass(frozen=True, slots=True)
class DrainEstimate:
    """When what is due now will be done: between `low_seconds` and `high_seconds`.

    `low_seconds` None: it is not getting less. `high_seconds` None with a low: over the one span it is, over the other
    it is not, so nobody knows. `note` says it in words.
    """

    low_seconds: float | None
    high_seconds: float | None
    arrivals_per_second: float
    completions_per_second: float
    note: str


def backlog() -> pd.DataFrame:
    """Pending jobs by job type, and of each the most urgent priority first.

    Columns: `job_type`, `priority`, `due` and `scheduled` (for later, retries included), `oldest_due_seconds` (how long
    the first one has been due; NaN: none is), `capped` (a count stopped at its bound: there are at least so many),
    `paused` (by an operator), `held_until` and `held_reason` (by a circuit breaker).
    """
    with reading() as connection:
        connection.execute(statement("along_the_indexes"))
        # How many lanes there are, then of each its share.
        lanes = len(connection.execute(statement("backlog"), {"most": 1}).fetchall())
        most = max(1, min(COUNTED_UP_TO, COUNTED_ALTOGETHER // max(1, lanes)))
        frame = frame_of(connection.execute(statement("backlog"), {"most": most}))
        types = frame_of(connection.execute("SELECT job_type, paused, held_until, held_reason FROM job_types"))
    frame["capped"] = (frame["due"] >= most) | (frame["scheduled"] >= most)
    frame = frame.merge(types, on="job_type", how="left")
    frame["paused"] = frame["paused"].eq(True)
    return frame


def ages(filter: JobFilter = _NO_FILTER) -> pd.DataFrame:
    """How long what is due has been waiting. Columns: `age` (a label, youngest first), `jobs`, `capped` (at 10,000).

    `filter`: its job types and priorities count.
    """
    asked: dict[str, Any] = {"edges": list(AGES.values()), "most": COUNTED_UP_TO}
    with reading() as connection:
        connection.execute(statement("along_the_indexes"))
        if filter.job_types or filter.priorities:
            types = filter.job_types or [
                row[0] for row in connection.execute(statement("types_with_jobs"), {"status": "pending"})
            ]
            asked["job_types"] = list(types)
            asked["priorities"] = list(filter.priorities or range(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1))
            lanes = len(asked["job_types"]) * len(asked["priorities"]) * len(AGES)
            asked["most"] = max(1, min(COUNTED_UP_TO, COUNTED_ALTOGETHER // max(1, lanes)))
            rows = connection.execute(statement("backlog_ages_filtered"), asked).fetchall()
        else:
            rows = connection.execute(statement("backlog_ages"), asked).fetchall()
    counts = dict(rows)
    frame = pd.DataFrame({"age": list(AGES), "jobs": [counts.get(place, 0) for place in range(1, len(AGES) + 1)]})
    frame["jobs"] = frame["jobs"].astype("int64")
    frame["capped"] = frame["jobs"] >= asked["most"]
    return frame


def drain_time() -> DrainEstimate:
    """How long until what is due now is done, as a range.

    What is due, divided by how much faster jobs end than they arrive; once by the last 5 minutes and once by the last
    15, and the two answers are the range. Ended means completed, failed for good or cancelled, by the roll-up. There is
    no counter of arrivals: they are the rows of the span by `created_at` (of more than 50,000, the newest 50,000 and
    the time those took), and failed jobs that people put back. So a job added now for next week counts as an arrival,
    and one that a back-off brings back does not, as it never ended.
    """
    with reading() as connection:
        connection.execute(statement("along_the_indexes"))
        due = count_due(connection)
        (arrivals, departures), longer = (_rates(connection, span) for span in (SHORT_SPAN, LONG_SPAN))
    if not due:
        return DrainEstimate(0.0, 0.0, arrivals, departures, "nothing is due")
    known = sorted(due / (out - into) for into, out in ((arrivals, departures), longer) if out > into)
    if not known:
        idle = departures == longer[1] == 0
        note = "nothing has ended in the last 15 minutes" if idle else "jobs arrive as fast as they end, or faster"
        return DrainEstimate(None, None, arrivals, departures, note)
    if len(known) == 1:
        return DrainEstimate(known[0], None, arrivals, departures, "it drains now and then: no end can be told")
    return DrainEstimate(known[0], known[1], arrivals, departures, "draining")


def next_scheduled(limit: int = 20) -> pd.DataFrame:
    """The pending jobs that are due next, back-offs included, the soonest first.

    Columns: `id`, `job_type`, `priority`, `scheduled_for`, `due_in_seconds`, `attempts` (so far), `error_message`.
    """
    return fetch(
        "SELECT id, job_type, priority, scheduled_for,"
        " extract(epoch FROM scheduled_for - now())::float8 AS due_in_seconds,"
        " retry_count AS attempts, error_message FROM background_jobs"
        " WHERE status = 'pending' AND scheduled_for > now() ORDER BY status, scheduled_for LIMIT %s",
        [limit],
    )


def oldest_pending() -> float | None:
    """How many seconds the job that has waited longest has been due; None: nothing is due."""
    with reading() as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM now() - scheduled_for)::float8 FROM background_jobs"
            " WHERE status = 'pending' AND scheduled_for <= now() ORDER BY status, scheduled_for LIMIT 1"
        ).fetchone()
    return row[0] if row else None


def running(filter: JobFilter = _NO_FILTER) -> int:
    """How many jobs run now. `filter`: its job types and priorities count."""
    wanted = filter.parameters()
    with reading() as connection:
        # With stale statistics the planner reads the whole table.
        connection.execute(statement("along_the_indexes"))
        row = connection.execute(
            "SELECT count(*) FROM background_jobs WHERE status = 'processing'"
            " AND (%(job_types)s::text[] IS NULL OR job_type = ANY (%(job_types)s::text[]))"
            " AND (%(priorities)s::int[] IS NULL OR priority = ANY (%(priorities)s::int[]))",
            wanted,
        ).fetchone()
    assert row is not None
    counted: int = row[0]
    return counted


def _rates(connection: psycopg.Connection[Any], span: int) -> tuple[float, float]:
    row = connection.execute(statement("flow_rates"), {"seconds": span, "most": ARRIVALS_COUNTED}).fetchone()
    assert row is not None
    return row[0], row[1]


def count_pending(connection: psycopg.Connection[Any], *, most: int = DUE_COUNTED) -> tuple[int, bool]:
    """Pending jobs, and whether that is an estimate: above `most`, PostgreSQL's own."""
    counted = _counted(connection, False, most)
    return (counted, False) if counted <= most else (max(counted, _estimated(connection)), True)


def count_due(connection: psycopg.Connection[Any], *, most: int = DUE_COUNTED) -> int:
    """Jobs that are due; above `most` an estimate: the pending ones' number times the due share of a sample of them."""
    counted = _counted(connection, True, most)
    if counted <= most:
        return counted
    row = connection.execute(statement("due_share"), {"pages": SAMPLED_PAGES}).fetchone()
    share = row[0] if row and row[0] is not None else 1.0
    return max(counted, round(_estimated(connection) * share))


def _counted(connection: psycopg.Connection[Any], due: bool, most: int) -> int:
    # In the order of idx_jobs_status_scheduled: by another index what is not due is read, too.
    row = connection.execute(
        "SELECT count(*) FROM (SELECT FROM background_jobs WHERE status = 'pending'"
        " AND (NOT %s OR scheduled_for <= now()) ORDER BY status, scheduled_for LIMIT %s) AS counted",
        [due, most + 1],
    ).fetchone()
    assert row is not None
    counted: int = row[0]
    return counted


def _estimated(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = 'idx_jobs_claim'::regclass").fetchone()
    return row[0] if row else 0
