"""Leaving customers in peace: until when, by their own clock, and putting a job off until then."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from models.contacts import Contact
from tasks.errors import PermanentError, Snooze


def zone_of(contact: Contact) -> ZoneInfo:
    """The customer's time zone.

    Raises:
        PermanentError: when it is none; it says what to correct.
    """
    try:
        return contact.zone()
    except ValueError as error:
        raise PermanentError(f"the customer {contact.id!r:.100}: {error}; correct it in the CRM") from None


def quiet_until(contact: Contact, now: datetime) -> datetime | None:
    """When the quiet hours end that the customer has now; None: there are none now.

    Raises:
        PermanentError: when the customer's time zone is none.
    """
    zone_of(contact)
    until = contact.quiet_hours().end_after(now)
    return until if until > now else None


def snooze(contact: Contact, now: datetime, until: datetime) -> Snooze:
    """To be raised: the job is due again when the quiet hours end.

    Args:
        now: the database's, before this attempt's other reads: the job is due so long after a later now, and never a
            moment too early.
    """
    local = until.astimezone(zone_of(contact))
    return Snooze(f"quiet hours until {local:%H:%M} {local.tzname()}", seconds=(until - now) / timedelta(seconds=1))
