"""Putting back what dead workers held, and failing what no worker will ever run."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from models.rollup import RollUp
from models.sql import statement

#: A worker that has not beaten for this long is dead; its jobs go back.
LEASE_SECONDS = 30.0
#: A job whose worker died this often fails for good.
FAIL_AFTER_LOSSES = 5
#: A type that no live worker has known for this long: its jobs fail for good. Long enough for a rolling upgrade.
UNKNOWN_TYPE_SECONDS = 60.0
#: Rows a statement takes at most, so that none holds many locks for long.
CHUNK = 1000
#: A look for unknown types ends after this time, and the next goes on: it is the heartbeat's thread that looks, and a
#: type that left a million jobs behind would keep it for a minute.
LOOK_SECONDS = 1.0


def rescue_lost_jobs(connection: psycopg.Connection[Any], *, lease: float = LEASE_SECONDS) -> int:
    """Puts back the jobs of workers that are dead by the database's clock; returns how many it took up."""
    rescued = 0
    while True:
        with connection.transaction():
            connection.execute(statement("along_the_indexes"))
            rows = connection.execute(
                statement("rescue_jobs"), {"lease": lease, "fail_after": FAIL_AFTER_LOSSES, "most": CHUNK}
            ).fetchall()
            roll_up = RollUp()
            for job_type, priority, status, jobs in rows:
                roll_up.count(job_type, priority, "lost", jobs)
                if status == "failed":
                    roll_up.count(job_type, priority, "failed", jobs)
            roll_up.write(connection)
            if rows:
                connection.execute("NOTIFY background_jobs")
        taken: int = sum(jobs for _, _, _, jobs in rows)
        rescued += taken
        if taken < CHUNK:
            return rescued


class UnknownTypeWatch:
    """Watches job types that no live worker knows, and fails their jobs once it has seen them so for long enough.

    It trusts only what it saw itself without a gap: a worker of the new version may still be starting.
    """

    def __init__(self, *, patience: float = UNKNOWN_TYPE_SECONDS, lease: float = LEASE_SECONDS) -> None:
        self._patience = patience
        self._lease = lease
        self._seen_since: dict[str, float] = {}

    def look(self, connection: psycopg.Connection[Any]) -> int:
        """One look; returns how many jobs failed for good."""
        with connection.transaction():
            connection.execute(statement("along_the_indexes"))
            rows = connection.execute(statement("pending_types"), {"lease": self._lease, "most": CHUNK}).fetchall()
        now = time.monotonic()
        self._seen_since = {row[0]: self._seen_since.get(row[0], now) for row in rows}
        ripe = sorted(name for name, since in self._seen_since.items() if now - since >= self._patience)
        failed = 0
        while ripe:
            with connection.transaction():
                connection.execute(statement("along_the_indexes"))
                events = connection.execute(
                    statement("fail_unknown_types"),
                    {"job_types": ripe, "patience": self._patience, "most": CHUNK, "known": _known(connection)},
                ).fetchall()
                RollUp.of((job_type, priority, "failed", jobs) for job_type, priority, jobs in events).write(connection)
            taken = sum(jobs for _, _, jobs in events)
            failed += taken
            if taken < CHUNK or time.monotonic() - now >= LOOK_SECONDS:
                break
        return failed

    def forget(self) -> None:
        """Starts over, after a gap in the looks."""
        self._seen_since.clear()


def _known(connection: psycopg.Connection[Any]) -> str:
    rows = connection.execute("SELECT job_type FROM job_types ORDER BY job_type").fetchall()
    return ", ".join(row[0] for row in rows) or "none"
