"""Messages to customers: one row for each, by which sending twice is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from models import database

_SAME = "customer_id = %(customer_id)s AND kind = %(kind)s AND subject_id = %(subject_id)s"


@dataclass(frozen=True, slots=True)
class MessageKey:
    """What makes two messages the same: to whom, by which job type, about what (the promotion's id, ...)."""

    customer_id: str
    kind: str
    subject_id: str

    @property
    def id(self) -> str:
        """The message's id, the local part of its Message-ID: always the same for the same key."""
        key = json.dumps([self.kind, self.customer_id, self.subject_id]).encode()
        return f"{self.kind.replace('_', '-')}.{hashlib.sha256(key).hexdigest()[:32]}"


async def begin_sending(key: MessageKey, channel: str) -> bool:
    """Writes down that the message is about to go out; False when it went out already."""
    async with database.async_engine().begin() as connection:
        added = await connection.exec_driver_sql(
            "INSERT INTO messages (id, customer_id, kind, subject_id, channel)"
            " VALUES (%(id)s, %(customer_id)s, %(kind)s, %(subject_id)s, %(channel)s)"
            # No index is named: of two inserts at once, either of the two unique ones may be what stops the second.
            " ON CONFLICT DO NOTHING RETURNING id",
            {"id": key.id, "channel": channel, **asdict(key)},
        )
        if added.first() is not None:
            return True
        found = await connection.exec_driver_sql(f"SELECT sent_at IS NULL FROM messages WHERE {_SAME}", asdict(key))
        return bool(found.scalar_one())


async def record_sent(key: MessageKey, channel: str) -> None:
    """Writes down that the message went out, and by which channel; the first time counts."""
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE messages SET sent_at = now(), channel = %(channel)s WHERE {_SAME} AND sent_at IS NULL",
            {"channel": channel, **asdict(key)},
        )
