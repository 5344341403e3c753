"""What people do to jobs: retry, cancel. Conditional in SQL, so that a stale view does no harm, and audited."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from models import database
from models.ids import can_be_stored
from models.roles import system_user
from models.rollup import RollUp
from models.sql import statement

#: Workers listen here for the ids of running jobs that were cancelled.
CANCEL_CHANNEL = "background_jobs_cancelled"
#: Jobs that one statement takes at most: 30 to 60 ms, so that nobody waits long for its locks.
CHUNK = 1000
#: A unique key can be taken between the look and the write; more than this many times is not believable.
_UNIQUE_KEY_TRIES = 10


def retry_job(job_id: str, *, who: str | None = None) -> bool:
    """Makes a failed or cancelled job pending again, due now, with a fresh retry budget; its history stays.

    Returns:
        False when there is no such job, when it is neither failed nor cancelled, or when another live job has its
        unique key.
    """
    return bool(retry_jobs([job_id], who=who))


def retry_jobs(ids: Sequence[str], *, who: str | None = None) -> list[str]:
    """Retries jobs as `retry_job` does, a thousand a transaction; returns the ids of those that could be."""
    return [job_id for chunk in _chunks(ids) for job_id in _retry_chunk(chunk, who)]


def cancel_job(job_id: str, *, who: str | None = None) -> bool:
    """Cancels a pending job, or a running one: its worker interrupts it (a `def` processor runs on, unheeded).

    Returns:
        False when there is no such job or it has ended already.
    """
    return bool(cancel_jobs([job_id], who=who))


def cancel_jobs(ids: Sequence[str], *, who: str | None = None) -> list[str]:
    """Cancels jobs as `cancel_job` does, a thousand a transaction; returns the ids of those that could be."""
    return [job_id for chunk in _chunks(ids) for job_id in _cancel_chunk(chunk, who)]


def attempt_name(job_id: str, started_at: datetime | None) -> str:
    """One attempt of a job, as a cancellation names it: a job that was retried at once may run again by the time its
    worker hears of the cancellation, and goes on."""
    return f"{started_at.astimezone(UTC).isoformat() if started_at else ''} {job_id}"


def audit(
    connection: psycopg.Connection[Any], who: str | None, action: str, target: str, detail: dict[str, Any]
) -> None:
    """Writes who did what into `audit_log`, in the transaction that does it. `who` None: the system user."""
    audit_all(connection, who, action, [(target, detail)])


def audit_all(
    connection: psycopg.Connection[Any], who: str | None, action: str, entries: Sequence[tuple[str, dict[str, Any]]]
) -> None:
    """Writes one entry for each (target, detail)."""
    connection.execute(
        "INSERT INTO audit_log (who, action, target, detail)"
        " SELECT %s, %s, entry.target, entry.detail::jsonb"
        " FROM unnest(%s::text[], %s::text[]) AS entry (target, detail)",
        [
            who or system_user(), action,
            [target for target, _ in entries], [json.dumps(detail) for _, detail in entries],
        ],
    )


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    ordered = sorted({job_id for job_id in ids if can_be_stored(job_id)})
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


def _retry_chunk(ids: Sequence[str], who: str | None) -> list[str]:
    for _ in range(_UNIQUE_KEY_TRIES):
        try:
            with database.transaction() as connection:
                connection.execute(statement("along_the_indexes"))
                rows = connection.execute(
                    statement("retry_jobs"), {"ids": list(ids), "begin": None, "gap": 0.0}
                ).fetchall()
                if rows:
                    RollUp.of(
                        (job_type, priority, "requeued", 1) for _, job_type, priority, was in rows if was == "failed"
                    ).write(connection)
                    connection.execute("NOTIFY background_jobs")
                    audit_all(connection, who, "retry", [(job_id, {"was": was}) for job_id, *_, was in rows])
            return [row[0] for row in rows]
        except psycopg.errors.UniqueViolation:
            continue  # taken since the look; the next one sees who has it
    return []


def _cancel_chunk(ids: Sequence[str], who: str | None) -> list[str]:
    with database.transaction() as connection:
        connection.execute(statement("along_the_indexes"))
        rows = connection.execute(statement("cancel_jobs"), {"ids": list(ids)}).fetchall()
        if rows:
            RollUp.of((job_type, priority, "cancelled", 1) for _, job_type, priority, *_ in rows).write(connection)
            running = [attempt_name(job_id, started_at) for job_id, *_, was, started_at in rows if was == "processing"]
            if running:
                connection.execute(
                    "SELECT pg_notify(%s, name) FROM unnest(%s::text[]) AS name", [CANCEL_CHANNEL, running]
                )
            audit_all(connection, who, "cancel", [(row[0], {"was": row[3]}) for row in rows])
    return [row[0] for row in rows]
