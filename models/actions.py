"""What people do to jobs: retry, cancel. Conditional in SQL, so that a stale view does no harm, and audited."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from typing import Any

import psycopg

from models import database
from models.ids import can_be_stored
from models.rollup import RollUp

#: Workers listen here for the ids of running jobs that were cancelled.
CANCEL_CHANNEL = "background_jobs_cancelled"


def retry_job(job_id: str, *, who: str | None = None) -> bool:
    """Makes a failed or cancelled job pending again, due now, with a fresh retry budget; its history stays.

    Returns:
        False when there is no such job, when it is neither failed nor cancelled, or when another live job has its
        unique key.
    """
    if not can_be_stored(job_id):
        return False
    try:
        with database.transaction() as connection:
            row = connection.execute(
                "UPDATE background_jobs SET status = 'pending', retry_count = 0, lost_count = 0, scheduled_for = now(),"
                " started_at = NULL, completed_at = NULL, error_message = NULL, worker_id = NULL, progress = NULL,"
                " progress_note = NULL, updated_at = now()"
                " FROM (SELECT id, status FROM background_jobs WHERE id = %s FOR UPDATE) AS before"
                " WHERE background_jobs.id = before.id AND before.status IN ('failed', 'cancelled')"
                " RETURNING job_type, priority, before.status",
                [job_id],
            ).fetchone()
            if row is None:
                return False
            job_type, priority, before = row
            if before == "failed":
                RollUp.of([(job_type, priority, "requeued", 1)]).write(connection)
            connection.execute("NOTIFY background_jobs")
            audit(connection, who, "retry", job_id, {"was": before})
    except psycopg.errors.UniqueViolation:
        return False
    return True


def cancel_job(job_id: str, *, who: str | None = None) -> bool:
    """Cancels a pending job, or a running one: its worker interrupts it (a `def` processor runs on, unheeded).

    Returns:
        False when there is no such job or it has ended already.
    """
    if not can_be_stored(job_id):
        return False
    with database.transaction() as connection:
        row = connection.execute(
            "UPDATE background_jobs SET status = 'cancelled', completed_at = now(), updated_at = now()"
            " FROM (SELECT id, status FROM background_jobs WHERE id = %s FOR UPDATE) AS before"
            " WHERE background_jobs.id = before.id AND before.status IN ('pending', 'processing')"
            " RETURNING job_type, priority, before.status, started_at",
            [job_id],
        ).fetchone()
        if row is None:
            return False
        job_type, priority, before, started_at = row
        RollUp.of([(job_type, priority, "cancelled", 1)]).write(connection)
        if before == "processing":
            connection.execute("SELECT pg_notify(%s, %s)", [CANCEL_CHANNEL, attempt_name(job_id, started_at)])
        audit(connection, who, "cancel", job_id, {"was": before})
    return True


def attempt_name(job_id: str, started_at: datetime | None) -> str:
    """One attempt of a job, as a cancellation names it: a job that was retried at once may run again by the time its
    worker hears of the cancellation, and goes on."""
    return f"{started_at.astimezone(UTC).isoformat() if started_at else ''} {job_id}"


def audit(
    connection: psycopg.Connection[Any], who: str | None, action: str, target: str, detail: dict[str, Any]
) -> None:
    """Writes who did what into `audit_log`, in the transaction that does it. `who` None: the system user."""
    connection.execute(
        "INSERT INTO audit_log (who, action, target, detail) VALUES (%s, %s, %s, %s)",
        [who or _system_user(), action, target, json.dumps(detail)],
    )


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return "unknown"
