"""The roll-up of what ended, written in the transaction that records it: counts and histograms per minute."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from models.histogram import bucket_of
from models.sql import statement

_COUNTS = ("completed", "failed", "retried", "cancelled", "lost", "requeued", "snoozed")


@dataclass(slots=True)
class _Row:
    counts: Counter[str] = field(default_factory=Counter)
    wait_seconds: float = 0.0
    run_seconds: float = 0.0
    wait: Counter[int] = field(default_factory=Counter)
    run: Counter[int] = field(default_factory=Counter)
    stage_micros: Counter[str] = field(default_factory=Counter)


class RollUp:
    """Collects what ended in one transaction, then writes it as one statement with its rows ordered by key.

    Args:
        worker_id: whose work it is; empty where no worker did it (a cancel, a rescue).
    """

    def __init__(self, worker_id: str = "") -> None:
        self._worker_id = worker_id
        self._rows: dict[tuple[str, int], _Row] = {}

    def count(self, job_type: str, priority: int, event: str, jobs: int = 1) -> None:
        """Counts `jobs` jobs; `event` is completed, failed, retried, cancelled, lost, requeued or snoozed."""
        assert event in _COUNTS, event
        self._row(job_type, priority).counts[event] += jobs

    def attempt(
        self,
        job_type: str,
        priority: int,
        event: str,
        *,
        waited: float,
        ran: float,
        stages: Mapping[str, float] | None = None,
    ) -> None:
        """Counts one attempt that ended, with the seconds it waited and ran, and those of its stages."""
        self.count(job_type, priority, event)
        row = self._row(job_type, priority)
        row.wait_seconds += waited
        row.run_seconds += ran
        row.wait[bucket_of(waited)] += 1
        row.run[bucket_of(ran)] += 1
        for stage, seconds in (stages or {}).items():
            row.stage_micros[stage] += round(seconds * 1e6)

    def _row(self, job_type: str, priority: int) -> _Row:
        key = (job_type, priority)
        if key not in self._rows:
            self._rows[key] = _Row()
        return self._rows[key]

    def write(self, connection: psycopg.Connection[Any]) -> None:
        """Adds the collected rows to `job_metrics`; does nothing when there are none."""
        if not self._rows:
            return
        keys = sorted(self._rows)
        rows = [self._rows[key] for key in keys]
        parameters: dict[str, list[Any]] = {
            "job_types": [job_type for job_type, _ in keys],
            "priorities": [priority for _, priority in keys],
            "worker_ids": [self._worker_id] * len(keys),
            "wait_seconds": [row.wait_seconds for row in rows],
            "run_seconds": [row.run_seconds for row in rows],
            "wait": [json.dumps(row.wait) for row in rows],
            "run": [json.dumps(row.run) for row in rows],
            "stage_micros": [json.dumps(row.stage_micros) for row in rows],
        }
        for event in _COUNTS:
            parameters[event] = [row.counts[event] for row in rows]
        connection.execute(statement("add_metrics"), parameters)

    @classmethod
    def of(cls, events: Iterable[tuple[str, int, str, int]], worker_id: str = "") -> RollUp:
        """A roll-up of (job type, priority, event, number of jobs)."""
        roll_up = cls(worker_id)
        for job_type, priority, event, jobs in events:
            roll_up.count(job_type, priority, event, jobs)
        return roll_up
