"""What operators do in another system, such as Prefect: in the audit log before it is asked for.

The two cannot commit together. Written afterwards, an action would be missing when this process or the database goes
away in between; so the entry comes first, and where it cannot be written nothing is done. Then it is told what came of
it: `accepted`, `refused`, or `unclear` without an answer that says so, when it may have been done all the same. An
entry that still says `asked` was left by a process, or a database, that went away meanwhile.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import sqlalchemy.exc

from models import database
from models.roles import Actor, require_operator

logger = logging.getLogger(__name__)

ASKED, ACCEPTED, REFUSED, UNCLEAR = "asked", "accepted", "refused", "unclear"


def act_outside(
    actor: Actor,
    action: str,
    target: str,
    ask: Callable[[], Mapping[str, Any] | None],
    *,
    refusals: tuple[type[Exception], ...],
    detail: Mapping[str, Any],
) -> None:
    """Asks another system to do something, audited; what `ask` raises is raised here.

    Args:
        ask: asks it, and returns what else the audit log is to hold of it.
        refusals: what `ask` raises when the other system said no.

    Raises:
        PermissionError: for a viewer; nothing is asked.
    """
    require_operator(actor)
    with database.transaction() as connection:
        row = connection.execute(
            "INSERT INTO audit_log (who, action, target, detail) VALUES (%s, %s, %s, %s) RETURNING id",
            [actor.name, action, target, json.dumps({**detail, "outcome": ASKED})],
        ).fetchone()
    assert row is not None
    try:
        more = ask()
    except refusals:
        _note(row[0], {"outcome": REFUSED})
        raise
    except Exception:
        _note(row[0], {"outcome": UNCLEAR})
        raise
    _note(row[0], {**(more or {}), "outcome": ACCEPTED})


def _note(entry: int, what: dict[str, Any]) -> None:
    try:
        with database.transaction() as connection:
            connection.execute(
                "UPDATE audit_log SET detail = detail || %s::jsonb WHERE id = %s", [json.dumps(what), entry]
            )
    except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        # What was asked for is not undone by that, nor told as a failure.
        logger.warning("entry %d of the audit log keeps %r, as the database went away: %s", entry, ASKED, error)
