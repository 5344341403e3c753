"""The queue in numbers, cheap enough to ask every few seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from models.backlog import count_pending
from models.reading import reading
from models.settings import settings
from models.sql import statement

#: Pending jobs are counted exactly up to here (about 10 ms along the index), and estimated above.
EXACT_UP_TO = 100_000


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The queue at one moment.

    `queue_length` is the number of pending jobs (`estimated` says whether it was counted), `processing` those that run
    now on all workers, `concurrency` this process's setting. `completed`, `failed` and `cancelled` come from the
    roll-up: they outlive the jobs' own retention; failed jobs put back are taken off.
    """

    queue_length: int
    processing: int
    concurrency: int
    pending: int
    completed: int
    failed: int
    cancelled: int
    estimated: bool = False

    @property
    def total(self) -> int:
        return self.pending + self.processing + self.completed + self.failed + self.cancelled

    @property
    def success_rate(self) -> float | None:
        """completed / (completed + failed), None before anything ended."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "total": self.total, "success_rate": self.success_rate}


def get_stats() -> QueueStats:
    """Counts by status, the queue's length and the concurrency."""
    with reading() as connection:
        pending, processing, estimated = count_live(connection)
        totals = connection.execute(
            "SELECT coalesce(sum(completed), 0), coalesce(sum(failed - requeued), 0), coalesce(sum(cancelled), 0)"
            " FROM job_metrics"
        ).fetchone()
        assert totals is not None
    completed, failed, cancelled = (max(0, int(total)) for total in totals)
    return QueueStats(
        queue_length=pending,
        processing=processing,
        concurrency=settings().concurrency,
        pending=pending,
        completed=completed,
        failed=failed,
        cancelled=cancelled,
        estimated=estimated,
    )


def count_live(connection: psycopg.Connection[Any]) -> tuple[int, int, bool]:
    """How many jobs wait and run, and whether those that wait are estimated: exact up to 100,000."""
    # With stale statistics the planner reads the whole table for either count.
    connection.execute(statement("along_the_indexes"))
    pending, estimated = count_pending(connection, most=EXACT_UP_TO)
    row = connection.execute("SELECT count(*) FROM background_jobs WHERE status = 'processing'").fetchone()
    assert row is not None
    # What follows in the transaction may well read a table as a whole.
    connection.execute("SET LOCAL enable_seqscan = on")
    return pending, row[0], estimated


def mean_run_seconds() -> float | None:
    """How long an attempt ran in the mean, over the whole roll-up; None before the first."""
    with reading() as connection:
        row = connection.execute(
            "SELECT (sum(run_seconds) / nullif(sum(completed + failed + retried), 0))::float8 FROM job_metrics"
        ).fetchone()
    assert row is not None
    mean: float | None = row[0]
    return mean
