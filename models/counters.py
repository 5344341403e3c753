"""What ended since the month began, by job type: figures that only grow, as Prometheus counts.

They come from the roll-up, so every process says the same and a restart loses nothing. They begin anew with each month
(UTC), as Prometheus expects of a counter now and then: counted from the first row of all, they would shrink every day
once the roll-up deletes its oldest.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from models.filters import JobFilter
from models.sql import statement

#: Rows of an hour are not written to when it is over by this much: a worker's transaction takes milliseconds.
CLOSED_AFTER = timedelta(minutes=15)
#: Read in one statement: a busy day's minutes (1,440 times fifty lanes) are added up in 0.4 s.
CHUNK = timedelta(days=1)

_EVENTS = ("completed", "failed", "retried", "cancelled", "lost")


@dataclass(slots=True)
class TypeCounts:
    """One job type's events and seconds, and its histograms (`models.histogram`) of run and wait."""

    events: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    run: Counter[int] = field(default_factory=Counter)
    wait: Counter[int] = field(default_factory=Counter)

    def add(self, other: TypeCounts) -> None:
        self.events.update(other.events)
        self.seconds.update(other.seconds)
        self.run.update(other.run)
        self.wait.update(other.wait)


_Counts = dict[str, TypeCounts]


class Counters:
    """Reads the counts, and keeps those of hours that are over: asked every few seconds, it reads an hour at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._month: datetime | None = None
        self._until = datetime.min.replace(tzinfo=UTC)
        self._over: _Counts = {}

    def read(self, connection: psycopg.Connection[Any]) -> tuple[datetime, _Counts]:
        """The beginning of the month, and the counts by job type since then.

        Args:
            connection: in a transaction with one snapshot, as `reading()` has it.
        """
        row = connection.execute("SELECT now(), date_trunc('month', now(), 'UTC')").fetchone()
        assert row is not None
        now, month = (moment.astimezone(UTC) for moment in row)
        over = (now - CLOSED_AFTER).replace(minute=0, second=0, microsecond=0)
        with self._lock:
            if self._month != month:
                self._month, self._until, self._over = month, month, {}
            while self._until < over:
                end = min(self._until + CHUNK, over)
                _add(self._over, _between(connection, self._until, end))
                self._until = end
            counts: _Counts = {}
            _add(counts, self._over.items())
            since = self._until
        _add(counts, _between(connection, since, now + CLOSED_AFTER))
        return month, counts


def _add(counts: _Counts, more: Iterable[tuple[str, TypeCounts]]) -> None:
    for job_type, found in more:
        counts.setdefault(job_type, TypeCounts()).add(found)


def _between(connection: psycopg.Connection[Any], since: datetime, until: datetime) -> Iterable[tuple[str, TypeCounts]]:
    parameters = {
        **JobFilter().parameters(), "since": since, "until": until, "step": 1,
        "by_step": False, "by_type": True, "by_priority": False,
    }  # fmt: skip
    found: _Counts = {}
    cursor = connection.execute(statement("metric_counts"), parameters)
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        counts = found.setdefault(row["job_type"], TypeCounts())
        counts.events.update({event: row[event] for event in _EVENTS})
        counts.seconds.update({"run": row["run_seconds"], "wait": row["wait_seconds"]})
    for name in ("run", "wait"):
        asked = {**parameters, "name": name}
        for _, job_type, _, bucket, jobs in connection.execute(statement("metric_histograms"), asked):
            getattr(found[job_type], name)[bucket] += jobs
    return found.items()
