"""Messages to customers: one row for each, by which sending twice is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from models import database
from models.sql import statement


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
        rows = await connection.exec_driver_sql(
            statement("begin_sending"),
            {
                "id": key.id,
                "customer_id": key.customer_id,
                "kind": key.kind,
                "subject_id": key.subject_id,
                "channel": channel,
            },
        )
        return rows.first() is not None


async def record_sent(key: MessageKey) -> None:
    """Writes down that the message went out; the first time counts."""
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(statement("record_sent"), {"id": key.id})
