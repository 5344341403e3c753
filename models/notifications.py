"""Notifications to staff: one row for each job and place, by which a retry leaves out those that got it."""

from __future__ import annotations

from models import database


async def told(job_id: str) -> set[str]:
    """The places (by their hashes) that have this job's message."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT target FROM notifications WHERE job_id = %(job_id)s AND sent_at IS NOT NULL", {"job_id": job_id}
        )
        return {row[0] for row in rows}


async def begin_telling(job_id: str, target: str, place: str) -> None:
    """Writes down that the message is about to go to this place."""
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO notifications AS known (job_id, target, place) VALUES (%(job_id)s, %(target)s, %(place)s)"
            " ON CONFLICT (job_id, target) DO UPDATE SET attempts = known.attempts + 1",
            {"job_id": job_id, "target": target, "place": place},
        )


async def record_told(job_id: str, target: str) -> None:
    """Writes down that the place has it."""
    async with database.async_engine().begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE notifications SET sent_at = coalesce(sent_at, now())"
            " WHERE job_id = %(job_id)s AND target = %(target)s",
            {"job_id": job_id, "target": target},
        )
