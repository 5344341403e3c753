"""What is deleted when: old jobs in chunks, the roll-up's minutes merged into hours, old hours and audit entries.

It is done by a job, `cleanup_old_data`: so it has its row, progress and history like all work, can be cancelled,
survives the process that asked for it, and by its unique key never runs beside another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from models import database
from models.adding import AddedJob, add_jobs
from models.sql import statement

#: How long ended jobs are kept unless somebody asks for another time.
DAYS_KEPT = 30
#: A transaction of 5,000 jobs takes 60 ms (a million rows, measured): nobody waits, and it is not all overhead.
CHUNK_ROWS = 5_000
#: Minutes are for the last two days' charts ...
MINUTES_KEPT = "48 hours"
#: ... hours and the audit log for a year and the month it is compared with.
KEPT = "13 months"


def queue_cleanup(days: int = DAYS_KEPT) -> AddedJob:
    """Adds a `cleanup_old_data` job of low priority, unless one for as many days is waiting or running already."""
    (job,) = add_jobs(
        [
            {
                "type": "cleanup_old_data",
                "payload": {"days": days},
                "priority": 3,
                "max_retries": 2,
                "unique_key": f"cleanup-old-data:{days}",
            }
        ]
    )
    return job


@dataclass(frozen=True, slots=True)
class DeletedJobs:
    """One chunk that is gone: how many jobs, and how much of the time to go through is done, 0 to 1."""

    jobs: int
    share: float


def delete_old_jobs(days: int, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[DeletedJobs]:
    """Deletes the jobs that completed, failed or were cancelled more than `days` days ago, a chunk per transaction.

    Never what is pending or processing, however old. Jobs that somebody is just retrying are left for the next time.
    """
    if days < 1 or chunk_rows < 1:
        raise ValueError(f"days, chunk_rows: expected 1 or more, got {days}, {chunk_rows}")
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT now() - make_interval(days => %s), extract(epoch FROM now() - make_interval(days => %s)"
            " - (SELECT min(created_at) FROM background_jobs))::float8",
            [days, days],
        ).fetchone()
    assert row is not None
    cutoff, span = row
    after, deleted = "-infinity", chunk_rows
    while deleted == chunk_rows:
        with database.transaction() as connection:
            # With stale statistics the planner reads and sorts all old rows for each chunk: 800 ms instead of 60.
            connection.execute(statement("along_the_indexes"))
            row = connection.execute(
                statement("delete_old_jobs"), {"after": after, "cutoff": cutoff, "most": chunk_rows}
            ).fetchone()
        assert row is not None
        deleted, last, left = row
        if deleted:
            after = last
            yield DeletedJobs(deleted, 1 - left / span if span else 1.0)


def merge_minutes() -> Iterator[int]:
    """Merges the roll-up's minutes that are older than 48 hours into hours, an hour per transaction.

    Yields:
        How many minute rows each hour had.
    """
    for hour in _hours_to_merge():
        with database.transaction() as connection:
            row = connection.execute(statement("merge_minutes"), {"hour": hour}).fetchone()
        assert row is not None
        yield row[0]


def _hours_to_merge() -> list[datetime]:
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT DISTINCT date_trunc('hour', bucket, 'UTC') AS hour FROM job_metrics"
            " WHERE resolution = 1 AND bucket < date_trunc('hour', now() - %s::interval, 'UTC') ORDER BY hour",
            [MINUTES_KEPT],
        ).fetchall()
    return [row[0] for row in rows]


def delete_old_hours() -> int:
    """Deletes the roll-up's hours that are older than 13 months; returns how many rows."""
    with database.transaction() as connection:
        return connection.execute(
            "DELETE FROM job_metrics WHERE resolution = 60 AND bucket < now() - %s::interval", [KEPT]
        ).rowcount


def delete_old_audit_entries(*, chunk_rows: int = CHUNK_ROWS) -> Iterator[int]:
    """Deletes what is older than 13 months from the audit log, a chunk per transaction; yields how many entries."""
    deleted = chunk_rows
    while deleted == chunk_rows:
        with database.transaction() as connection:
            deleted = connection.execute(
                "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < now() - %s::interval"
                " ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED)",
                [KEPT, chunk_rows],
            ).rowcount
        yield deleted
