"""The sample's appointments: those of the next day, to be reminded of, and those that are over, to be asked about.

A reminder waits where it is night. So that the sample is the same at whatever hour it is loaded, most of the next
appointments are where it is noon by then, and every sixth one is where it is two at night.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

#: A place for each hour from UTC-11 to UTC+12; in summer some are an hour further, which does no harm.
_ZONES = (
    "Pacific/Pago_Pago", "Pacific/Honolulu", "America/Anchorage", "America/Los_Angeles", "America/Denver",
    "America/Chicago", "America/New_York", "America/Halifax", "America/Sao_Paulo", "America/Noronha", "Atlantic/Azores",
    "Europe/London", "Europe/Berlin", "Europe/Athens", "Africa/Nairobi", "Asia/Dubai", "Asia/Karachi", "Asia/Dhaka",
    "Asia/Bangkok", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Pacific/Noumea", "Pacific/Auckland",
)  # fmt: skip
_WESTERNMOST = -11
_NOON, _NIGHT = 12, 2
#: Of so many next appointments, one is where it is night.
NIGHT_EVERY = 6
#: Days ago: over by any zone's calendar, and not so long ago that nobody asks about it any more.
_OVER_FIRST, _OVER_DAYS = 2, 5


class When(NamedTuple):
    """When an appointment is; `completed_at` of one that is over, `zone` of one to be reminded of."""

    starts_at: datetime
    status: str
    completed_at: datetime | None
    zone: str | None


def when(number: int, now: datetime) -> When:
    """When the sample's appointment of this number is: by turns one that is over and a next one."""
    turn, over = divmod(number, 2)
    # From half past nine to half past twelve.
    start = time(9 + turn % 4, 30)
    if over:
        day = (now.astimezone(UTC) - timedelta(days=_OVER_FIRST + turn % _OVER_DAYS)).date()
        starts_at = datetime.combine(day, start, UTC)
        return When(starts_at, "completed", starts_at + timedelta(hours=2), None)
    night = turn % NIGHT_EVERY == NIGHT_EVERY - 1
    zone = _where_it_is(_NIGHT if night else _NOON, now)
    local = now.astimezone(ZoneInfo(zone))
    day = local.date() if night else local.date() + timedelta(days=1)
    return When(datetime.combine(day, start, ZoneInfo(zone)), "scheduled", None, zone)


def _where_it_is(hour: int, now: datetime) -> str:
    return _ZONES[(hour - now.astimezone(UTC).hour - _WESTERNMOST) % 24]
