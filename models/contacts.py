"""How and when a customer may be reached: channel, addresses, time zone, quiet hours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

from models import database
from models.quiet_hours import QuietHours, parse_span, time_zone
from models.settings import settings

#: What people put between digits; anything else is looked at twice: "(0)" must not be dialled.
_BETWEEN_DIGITS = re.compile(r"[ .\u00a0-]")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer as one who is written to."""

    id: str
    name: str
    email: str | None
    phone: str | None
    channel: str
    webhook_url: str | None
    time_zone: str | None
    quiet_from: time | None
    quiet_until: time | None
    unsubscribed: bool

    def zone(self) -> ZoneInfo:
        """The customer's time zone, or the company's.

        Raises:
            ValueError: when the customer's is none.
        """
        return time_zone(self.time_zone or settings().company_time_zone)

    def quiet_hours(self) -> QuietHours:
        """The customer's own quiet hours, or the company's, by the customer's clock.

        Raises:
            ValueError: when the customer's time zone is none.
        """
        if self.quiet_from is not None and self.quiet_until is not None:
            return QuietHours(self.quiet_from, self.quiet_until, self.zone())
        return QuietHours(*parse_span(settings().quiet_hours), self.zone())


async def find_contact(customer_id: str) -> tuple[Contact, datetime] | None:
    """The customer, and the time by the database's clock; None: there is no such customer."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT now(), id, name, email, phone, channel, webhook_url, time_zone, quiet_from, quiet_until,"
            " unsubscribed_at IS NOT NULL FROM customers WHERE id = %(id)s",
            {"id": customer_id},
        )
        found = rows.one_or_none()
    return None if found is None else (Contact(*found[1:]), found[0])


def e164(phone: str) -> str:
    """The phone number as E.164 writes it; spaces, dots and hyphens in it are left out.

    Raises:
        ValueError: when it is none.
    """
    number = _BETWEEN_DIGITS.sub("", phone)
    if not _E164.fullmatch(number):
        raise ValueError(f"expected a phone number with its country such as +14155550123, got {phone!r:.40}")
    return number
