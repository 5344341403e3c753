"""Asking for reviews: once for each visit, and no customer more often than every 90 days."""

from __future__ import annotations

from enum import StrEnum

from models import database
from models.appointments import ASK_AGAIN_DAYS
from models.messages import MessageKey
from models.sql import statement


class Begun(StrEnum):
    """Whether a request may go out."""

    NEW = "new"
    AGAIN = "again"
    ASKED_LATELY = "asked lately"


async def begin_review_request(key: MessageKey) -> Begun:
    """Writes down that the request is about to go out, unless the customer was asked in the last 90 days.

    `AGAIN`: an earlier attempt has written it down. What was begun counts as asked, as nobody knows whether it went
    out; jobs of the same customer take turns, so that of two at once one is told `ASKED_LATELY`.
    """
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(
            "SELECT FROM customers WHERE id = %(id)s FOR NO KEY UPDATE", {"id": key.customer_id}
        )
        # A statement of its own: one that had waited for the lock would look at what was before.
        rows = await connection.exec_driver_sql(
            statement("begin_review_request"),
            {
                "id": key.id,
                "customer_id": key.customer_id,
                "kind": key.kind,
                "subject_id": key.subject_id,
                "again_days": ASK_AGAIN_DAYS,
            },
        )
        asked_lately, begun = rows.one()
    if asked_lately:
        return Begun.ASKED_LATELY
    return Begun.NEW if begun else Begun.AGAIN


async def withdraw_review_request(key: MessageKey) -> None:
    """Forgets a request that certainly did not go out: another visit may be asked about."""
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(
            "DELETE FROM messages WHERE id = %(id)s AND sent_at IS NULL", {"id": key.id}
        )
