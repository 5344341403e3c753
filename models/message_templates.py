"""Staff's own wording of messages, as it is stored: data, which is never run."""

from __future__ import annotations

from dataclasses import dataclass

from models import database


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """Subject and body as they were typed."""

    subject: str
    body: str


async def stored_template(name: str) -> StoredTemplate | None:
    """Reads it; None: staff has left the built-in wording as it is."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT subject, body FROM message_templates WHERE name = %(name)s", {"name": name}
        )
        found = rows.one_or_none()
    return None if found is None else StoredTemplate(*found)
