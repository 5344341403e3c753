"""Appointments whose customers are to be reminded or asked for a review: what a job needs, and queueing the jobs.

An appointment is queued once, in the transaction that marks it: a job that fails stays failed, for somebody to look at,
and is not added again an hour later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from sqlmodel import Session

from models import database
from models.contacts import Contact
from models.messages import MessageKey
from models.priority import calculate_priority
from models.queue import job_queue
from models.reviews import LINK_DAYS
from models.settings import settings
from models.sql import statement

#: Hourly runs look so far ahead: a day, and the hour until the next run.
REMIND_HOURS = 25
#: Who is asked later does not remember, and whoever comes home the same day is still busy.
ASK_WITHIN_DAYS = 7
#: A customer is not asked again within so many days.
ASK_AGAIN_DAYS = 90
MOST_APPOINTMENTS = 1_000


@dataclass(frozen=True, slots=True)
class Reminder:
    """An appointment to remind of. `subject_id` stands for it at this time: moved, it is another.

    `now`: by the database's clock; `sent`: the reminder of this time went out.
    """

    status: str
    service: str
    starts_at: datetime
    subject_id: str
    sent: bool
    now: datetime
    contact: Contact


@dataclass(frozen=True, slots=True)
class Visit:
    """An appointment to be reviewed. `sent`: it was asked for; `link_ends`: when a link made now ends."""

    status: str
    service: str
    completed_at: datetime
    sent: bool
    reviewed: bool
    link_ends: datetime
    contact: Contact


@dataclass(frozen=True, slots=True)
class Queued:
    """Which appointments were queued; in a rehearsal, which would have been."""

    appointments: list[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Reminders of customers in one time zone that wait for the end of quiet hours; `until` for the first of them."""

    zone: str
    jobs: int
    until: datetime


def reminder_key(customer_id: str, subject_id: str) -> MessageKey:
    """Of an appointment at one time, a customer is reminded once."""
    return MessageKey(customer_id, "send_reminder", subject_id)


def review_key(customer_id: str, appointment_id: str) -> MessageKey:
    """A visit is asked about once."""
    return MessageKey(customer_id, "send_review_request", appointment_id)


async def find_reminder(appointment_id: str) -> Reminder | None:
    """Reads it; None: there is no such appointment."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(statement("find_reminder"), {"id": appointment_id})
        found = rows.one_or_none()
    if found is None:
        return None
    status, service, starts_at, subject_id, sent, now, *contact = found
    return Reminder(status, service, starts_at, subject_id, sent, now, Contact(*contact))


async def find_visit(appointment_id: str) -> Visit | None:
    """Reads it; None: there is no such appointment."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(
            statement("find_visit"), {"id": appointment_id, "link_days": LINK_DAYS}
        )
        found = rows.one_or_none()
    if found is None:
        return None
    status, service, completed_at, sent, reviewed, link_ends, *contact = found
    return Visit(status, service, completed_at, sent, reviewed, link_ends, Contact(*contact))


def queue_reminders(
    limit: int = MOST_APPOINTMENTS, *, hours: float = REMIND_HOURS, dry_run: bool = False
) -> Queued:
    """Queues a `send_reminder` job for each appointment that starts within `hours` and has none yet for this time.

    The next ones first, at most `limit`. With `dry_run` nothing is queued.
    """
    found = {"hours": hours, "most": limit}
    return _queue("due_reminders", found, _reminder_job, "reminder_queued_for = starts_at", dry_run)


def queue_review_requests(limit: int = MOST_APPOINTMENTS, *, dry_run: bool = False) -> Queued:
    """Queues a `send_review_request` job for what was completed yesterday or up to 7 days ago, by the company's clock.

    One a customer, for the latest visit; none for who has unsubscribed, has no e-mail address, or was asked in the last
    90 days. At most `limit`. With `dry_run` nothing is queued.
    """
    found = {
        "zone": settings().company_time_zone,
        "days": ASK_WITHIN_DAYS,
        "again_days": ASK_AGAIN_DAYS,
        "most": limit,
    }
    return _queue("due_review_requests", found, _review_job, "review_queued_at = now()", dry_run)


def waiting_reminders() -> list[Waiting]:
    """The reminders that are put off, by time zone, the next ones first."""
    with database.transaction() as connection:
        rows = connection.execute(
            statement("waiting_reminders"), {"zone": settings().company_time_zone}
        ).fetchall()
    return [Waiting(*row) for row in rows]


def _queue(
    due: str, parameters: dict[str, Any], job_of: Callable[..., dict[str, Any]], mark: LiteralString, dry_run: bool
) -> Queued:
    with database.session() as session:
        rows = session.connection().exec_driver_sql(statement(due), parameters).all()
        if rows and not dry_run:
            job_queue.add_batch([job_of(*row) for row in rows], session=session)
            _mark(session, mark, [row[0] for row in rows])
            session.commit()
    return Queued([row[0] for row in rows])


def _mark(session: Session, mark: LiteralString, ids: list[str]) -> None:
    session.connection().exec_driver_sql(
        f"UPDATE appointments SET {mark} WHERE id = ANY (%(ids)s::text[])", {"ids": ids}
    )


def _reminder_job(
    appointment_id: str, customer_id: str, tier: str, starts_at: datetime, subject_id: str
) -> dict[str, Any]:
    return {
        "type": "send_reminder",
        "payload": {"appointment_id": appointment_id, "starts_at": starts_at.isoformat()},
        "priority": calculate_priority(urgency="high", customer_tier=tier),
        "unique_key": reminder_key(customer_id, subject_id).id,
    }


def _review_job(appointment_id: str, customer_id: str, tier: str) -> dict[str, Any]:
    return {
        "type": "send_review_request",
        "payload": {"appointment_id": appointment_id},
        "priority": calculate_priority(urgency="low", customer_tier=tier),
        "unique_key": review_key(customer_id, appointment_id).id,
    }
