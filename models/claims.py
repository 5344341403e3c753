"""Claiming: which jobs a free slot takes. One free slot, one claim, one job type.

Strict priority starves, so every n-th claim serves the lane (a job type at one priority) whose head has waited longest,
whatever its priority. With k older jobs, n jobs a claim and L lanes, a job waits for at most n-th * (k / n + L) claims
under any overload: each fair claim takes the oldest heads there are, and a lane can be served out of order at most once
before its head is younger than the job that waits. (Jobs that were lost twice run alone: each of them is a whole claim.
Workers count their turns each for itself, so W of them may claim W * n-th times before all have had a fair turn.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from models import database
from models.door import PAYLOAD_LIMIT_BYTES
from models.priority import HIGHEST_PRIORITY, LOWEST_PRIORITY
from models.sql import statement

#: A job that lost its worker this often runs alone: it may be what killed it.
ALONE_AFTER_LOSSES = 2
_URGENT_FIRST = tuple(range(HIGHEST_PRIORITY, LOWEST_PRIORITY - 1, -1))


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """One job as the worker runs it; `payload` is JSON text, None when the row's is over the limit."""

    id: str
    payload: str | None
    priority: int
    retry_count: int
    max_retries: int
    lost_count: int
    waited: float
    started_at: datetime

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self.retry_count + 1


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs of one type that now belong to the worker."""

    job_type: str
    jobs: list[ClaimedJob]

    @property
    def alone(self) -> bool:
        """Whether nothing else may run beside it in this worker."""
        return self.jobs[0].lost_count >= ALONE_AFTER_LOSSES


@dataclass(frozen=True, slots=True)
class NothingDue:
    """There was nothing to take: `due_in` seconds until something is (None: nothing is scheduled).

    Zero or less when all that is due is being taken by others just now, or at its limit.
    """

    due_in: float | None


@dataclass(frozen=True, slots=True)
class _Lane:
    job_type: str
    priority: int
    due_in: float
    limited: bool


@dataclass(slots=True)
class Claimer:
    """Claims for one worker.

    Args:
        worker_id: who holds what is claimed.
        job_types: the types the worker knows.
        fair_every: every n-th claim goes to the lane that has waited longest.
        batch_limit: how many jobs of a type one batch takes.
    """

    worker_id: str
    job_types: Sequence[str]
    fair_every: int
    batch_limit: Callable[[str], int]
    _turn: int = field(init=False)

    def __post_init__(self) -> None:
        # Anywhere in the round: workers that are started anew before their tenth claim make fair ones all the same.
        self._turn = random.randrange(self.fair_every)

    def claim(self, flow_run_id: str | None = None) -> Claim | NothingDue:
        """Takes the jobs that are to run next, or says when to look again."""
        fair = (self._turn + 1) % self.fair_every == 0
        # A fair claim tries lane by lane; an urgent one takes the whole type in the order of its priorities.
        for lane in self._oldest_lanes() if fair else self._urgent_lanes():
            jobs = self._take(lane, (lane.priority,) if fair else _URGENT_FIRST, flow_run_id)
            if jobs:
                self._turn += 1
                return Claim(lane.job_type, jobs)
        return NothingDue(min((lane.due_in for lane in self._lanes()), default=None))

    def _urgent_lanes(self) -> list[_Lane]:
        """Of each type the most urgent lane that is due, the most urgent first."""
        return sorted(self._lanes(only_urgent=True), key=lambda lane: (-lane.priority, lane.due_in))

    def _oldest_lanes(self) -> list[_Lane]:
        """All lanes that are due, the one that has waited longest first."""
        return sorted((lane for lane in self._lanes() if lane.due_in <= 0), key=lambda lane: lane.due_in)

    def _lanes(self, *, only_urgent: bool = False) -> list[_Lane]:
        with database.transaction() as connection:
            connection.execute(statement("along_the_indexes"))
            rows = connection.execute(
                statement("lanes"), {"job_types": list(self.job_types), "only_urgent": only_urgent}
            ).fetchall()
        return [_Lane(*row) for row in rows]

    def _take(self, lane: _Lane, priorities: Sequence[int], flow_run_id: str | None) -> list[ClaimedJob]:
        most = self.batch_limit(lane.job_type)
        with database.transaction() as connection:
            if lane.limited:
                most = _allowed(connection, lane.job_type, most)
                if most < 1:
                    return []
            connection.execute(statement("along_the_indexes"))
            rows = connection.execute(
                statement("claim_jobs"),
                {
                    "job_type": lane.job_type,
                    "priorities": list(priorities),
                    "most": most,
                    "worker_id": self.worker_id,
                    "flow_run_id": flow_run_id,
                    "alone_after": ALONE_AFTER_LOSSES,
                    "payload_limit": PAYLOAD_LIMIT_BYTES,
                },
            ).fetchall()
            if lane.limited and rows:
                connection.execute(
                    statement("spend_start_tokens"), {"job_type": lane.job_type, "started": len(rows)}
                )
        jobs = [ClaimedJob(*row) for row in rows]
        jobs.sort(key=lambda job: (-job.priority, -job.waited))
        return jobs

    def due_within(self, seconds: float) -> bool:
        """Whether a job of a known type is being processed by anyone, or pending, not paused, and due by then."""
        if any(lane.due_in <= seconds for lane in self._lanes()):
            return True
        with database.transaction() as connection:
            row = connection.execute(
                statement("count_processing"), {"job_types": list(self.job_types)}
            ).fetchone()
        return row is not None and row[0] > 0


def _allowed(connection: psycopg.Connection[Any], job_type: str, most: int) -> int:
    """How many jobs of a limited type may start now, of `most`; locks the type's row until the transaction ends.

    The lock and the count are two statements on purpose: in one, four claimers got 40 jobs running at a limit of 10,
    because each counted with the snapshot it had before it waited for the lock.
    """
    row = connection.execute(statement("take_start_tokens"), {"job_type": job_type}).fetchone()
    if row is None:
        return 0
    max_running, tokens = row
    if tokens is not None:
        most = min(most, tokens)
    if max_running is not None:
        running = connection.execute(statement("count_processing"), {"job_types": [job_type]}).fetchone()
        most = min(most, max_running - (running[0] if running else 0))
    return most
