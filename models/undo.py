"""Taking back a retry: the jobs that have not started since are again what they were."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg

from models import database
from models.actions import CHUNK, audit
from models.bulk import find_bulk
from models.roles import Actor, require_operator
from models.rollup import RollUp
from models.sql import statement


def take_back(action_id: str, actor: Actor) -> tuple[int, int]:
    """Takes back what a bulk action retried and no worker has taken since, a thousand jobs a transaction.

    If the action still runs, it is stopped first. An undo that was broken off is gone on with by another one.

    Returns:
        How many were taken back, and how many the action had retried that were not (they have started, or were touched
        otherwise: cancelled, retried anew).

    Raises:
        PermissionError: for a viewer.
        LookupError: when there is no such action.
    """
    require_operator(actor)
    find_bulk(action_id)
    with database.transaction() as connection:
        row = connection.execute(
            "UPDATE bulk_actions SET state = 'undoing', updated_at = now() WHERE id = %s AND state <> 'undone'"
            " RETURNING done",
            [action_id],
        ).fetchone()
    if row is None:
        return 0, 0
    taken, after = 0, ""
    while True:
        with database.transaction() as connection:
            chunk, after = _take_back_chunk(connection, action_id, after)
        taken += chunk
        if not after:
            break
    with database.transaction() as connection:
        total = connection.execute(
            "UPDATE bulk_actions SET state = 'undone', updated_at = now() WHERE id = %s AND state = 'undoing'"
            " RETURNING undone, done - undone",
            [action_id],
        ).fetchone()
        if total is not None:
            audit(connection, actor.name, "undo", action_id, {"taken_back": total[0], "started_already": total[1]})
    return taken, row[0] - taken


def _take_back_chunk(connection: psycopg.Connection[Any], action_id: str, after: str) -> tuple[int, str]:
    """How many of the next thousand could be taken back, and the last id looked at; empty: there are no more."""
    connection.execute("SELECT FROM bulk_actions WHERE id = %s FOR UPDATE", [action_id])
    connection.execute(statement("along_the_indexes"))
    ids = [
        row[0]
        for row in connection.execute(
            "SELECT job_id FROM retried_jobs WHERE bulk_action_id = %s AND job_id > %s"
            " ORDER BY bulk_action_id, job_id LIMIT %s",
            [action_id, after, CHUNK],
        )
    ]
    if not ids:
        return 0, ""
    rows = connection.execute(statement("take_back"), {"bulk_action_id": action_id, "ids": ids}).fetchall()
    failed = Counter((job_type, priority) for job_type, priority, was in rows if was == "failed")
    # What was counted as put back by people is put back no more.
    counts = ((job_type, priority, "requeued", -jobs) for (job_type, priority), jobs in failed.items())
    RollUp.of(counts).write(connection)
    connection.execute(
        "UPDATE bulk_actions SET undone = undone + %s, updated_at = now() WHERE id = %s", [len(rows), action_id]
    )
    return len(rows), ids[-1] if len(ids) == CHUNK else ""
