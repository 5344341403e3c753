"""Reading jobs: one with its history, or the newest of a kind. Bounded, along indexes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import defer
from sqlmodel import col, select

from models import database
from models.door import EARLIEST
from models.filters import JobFilter, Period
from models.ids import can_be_stored
from models.jobs import BackgroundJob, JobFailure, JobStatus, JobTypeRow
from models.paging import newest_ids

#: More than this is a report, not a look.
MOST_ROWS = 1000


def newest_jobs(
    *, status: str | None = None, job_type: str | None = None, limit: int = 20, before: datetime | None = None
) -> list[BackgroundJob]:
    """The newest jobs by `created_at`, of one status or type or of all; without payload and result, which may be long.

    Raises:
        ValueError: for a status there is not, or a limit outside 1..1000.
    """
    if status is not None and status not in set(JobStatus):
        raise ValueError(f"status: expected one of {', '.join(JobStatus)}, got {status!r}")
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: expected 1 to {MOST_ROWS}, got {limit}")
    # Two steps, the second in any order: the planner, asked for all at once or for an order, may walk through a million
    # jobs for these few.
    ids = newest_ids(
        JobFilter(
            statuses=() if status is None else (status,),
            job_types=() if job_type is None else (job_type,),
            period=None if before is None else Period(EARLIEST, before),
        ),
        limit,
    )
    query = select(BackgroundJob).where(col(BackgroundJob.id).in_(ids))
    query = query.options(defer(BackgroundJob.payload), defer(BackgroundJob.result))  # type: ignore[arg-type]
    with database.session() as session:
        found = {job.id: job for job in session.exec(query)}
    return [found[job_id] for job_id in ids if job_id in found]


def find_job(job_id: str) -> BackgroundJob | None:
    """One job, None when there is none of that id."""
    if not can_be_stored(job_id):
        return None
    with database.session() as session:
        return session.get(BackgroundJob, job_id)


def failures_of(job_id: str) -> list[JobFailure]:
    """A job's failed attempts, oldest first."""
    if not can_be_stored(job_id):
        return []
    with database.session() as session:
        return list(session.exec(select(JobFailure).where(JobFailure.job_id == job_id).order_by(col(JobFailure.id))))


def declared_types() -> list[JobTypeRow]:
    """The job types some worker has declared, by name."""
    with database.session() as session:
        return list(session.exec(select(JobTypeRow).order_by(col(JobTypeRow.job_type))))


def payload_schema(job_type: str) -> dict[str, Any] | None:
    """The JSON Schema of a type's payload, None when no worker has declared the type."""
    with database.session() as session:
        row = session.get(JobTypeRow, job_type)
        return row.payload_schema if row is not None else None


def live_workers() -> list[dict[str, Any]]:
    """Workers that have not signed off, with the age of their last beat in seconds."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT worker_id, host, pid, waiting, stop_requested, extract(epoch FROM now() - beat_at)::float8"
            " FROM workers WHERE stopped_at IS NULL ORDER BY started_at"
        ).fetchall()
    names = ("worker_id", "host", "pid", "waiting", "stop_requested", "beat_age_seconds")
    return [dict(zip(names, row, strict=True)) for row in rows]
