"""What people do to jobs: retry, cancel. Conditional in SQL, so that a stale view does no harm, and audited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg

from models import database
from models.ids import can_be_stored
from models.roles import system_user
from models.rollup import RollUp
from models.sql import statement

Result = TypeVar("Result")

#: Workers listen here for the ids of running jobs that were cancelled.
CANCEL_CHANNEL = "background_jobs_cancelled"
#: Jobs that one statement takes at most: 30 to 60 ms, so that nobody waits long for its locks.
CHUNK = 1000
#: The action of chosen jobs in `bulk_actions` and the audit log.
RETRY = "retry"
#: A unique key can be taken between the look and the write; more than this many times is not believable.
_UNIQUE_KEY_TRIES = 10


def retry_job(job_id: str, *, who: str | None = None) -> bool:
    """Makes a failed or cancelled job pending again, due now, with a fresh retry budget; its history stays.

    Returns:
        False when there is no such job, when it is neither failed nor cancelled, or when another live job has its
        unique key.
    """
    return bool(retry_jobs([job_id], who=who))


def retry_jobs(ids: Sequence[str], *, who: str | None = None, action_id: str | None = None) -> list[str]:
    """Retries jobs as `retry_job` does, a thousand a transaction; returns the ids of those that could be.

    Args:
        action_id: of a row in `bulk_actions` that is written with them, for an undo.
    """
    return [job_id for chunk in _chunks(ids) for job_id in _retry_chunk(chunk, who, action_id)]


def cancel_job(job_id: str, *, who: str | None = None) -> bool:
    """Cancels a pending job, or a running one: its worker interrupts it (a `def` processor runs on, unheeded).

    Returns:
        False when there is no such job or it has ended already.
    """
    return bool(cancel_jobs([job_id], who=who))


def cancel_jobs(ids: Sequence[str], *, who: str | None = None) -> list[str]:
    """Cancels jobs as `cancel_job` does, a thousand a transaction; returns the ids of those that could be."""
    return [job_id for chunk in _chunks(ids) for job_id in _cancel_chunk(chunk, who)]


def retry_in(
    connection: psycopg.Connection[Any],
    ids: Sequence[str],
    *,
    bulk_action_id: str | None = None,
    begin: datetime | None = None,
    gap: float = 0.0,
) -> list[tuple[str, str]]:
    """Retries up to a thousand jobs in the caller's transaction; returns (id, what it was) of those that could be.

    Args:
        bulk_action_id: what can be undone as one.
        begin: when the first one is due; None, or a time that has passed: now.
        gap: seconds from one to the next.

    Raises:
        psycopg.errors.UniqueViolation: when a unique key was taken meanwhile; see `against_unique_keys`.
    """
    connection.execute(statement("along_the_indexes"))
    rows = connection.execute(
        statement("retry_jobs"), {"ids": list(ids), "bulk_action_id": bulk_action_id, "begin": begin, "gap": gap}
    ).fetchall()
    if rows:
        failed = (row for row in rows if row[3] == "failed")
        RollUp.of((job_type, priority, "requeued", 1) for _, job_type, priority, _ in failed).write(connection)
        connection.execute("NOTIFY background_jobs")
    return [(row[0], row[3]) for row in rows]


def against_unique_keys(work: Callable[[psycopg.Connection[Any]], Result]) -> Result | None:
    """Does the work in a transaction, and again while unique keys are taken under its hands; None: too often."""
    for _ in range(_UNIQUE_KEY_TRIES):
        try:
            with database.transaction() as connection:
                return work(connection)
        except psycopg.errors.UniqueViolation:
            continue  # the next look sees who has it
    return None


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
    if not entries:
        return
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


def _retry_chunk(ids: Sequence[str], who: str | None, action_id: str | None) -> list[str]:
    def retry(connection: psycopg.Connection[Any]) -> list[str]:
        retried = retry_in(connection, ids, bulk_action_id=action_id)
        if retried and action_id is not None:
            _note_action(connection, action_id, who, len(retried), len(ids) - len(retried))
        audit_all(connection, who, "retry", [(job_id, {"was": was}) for job_id, was in retried])
        return [job_id for job_id, _ in retried]

    return against_unique_keys(retry) or []


def _note_action(connection: psycopg.Connection[Any], action_id: str, who: str | None, done: int, skipped: int) -> None:
    connection.execute(
        "INSERT INTO bulk_actions AS action (id, who, action, filter, total, done, skipped, state)"
        " VALUES (%s, %s, %s, '{}', %s, %s, %s, 'done') ON CONFLICT (id) DO UPDATE SET total = action.total +"
        " excluded.total, done = action.done + excluded.done, skipped = action.skipped + excluded.skipped",
        [action_id, who or system_user(), RETRY, done + skipped, done, skipped],
    )


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
