"""When a customer is left in peace: a span of local time, each day, in the customer's time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SPAN = re.compile(r"([0-9]{2}:[0-9]{2})\s*-\s*([0-9]{2}:[0-9]{2})")
_DAY = timedelta(days=1)
#: How closely a change of the clocks is looked for. Nowhere is the clock changed and changed back within it.
_STEP = timedelta(minutes=15)
_SECOND = timedelta(seconds=1)
#: A change of the clocks can take away the only minutes of a day that are not quiet; never of two days on end.
_MOST_CHANGES = 100


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `begin` until just before `end` by the clock of the zone, over midnight where `end` is the earlier one.

    The same time twice: never. When the clocks change, what counts is the time they show.
    """

    begin: time
    end: time
    zone: ZoneInfo

    def covers(self, moment: datetime) -> bool:
        """Whether the moment (with a time zone) is quiet."""
        clock = moment.astimezone(self.zone).time()
        if self.begin <= self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end

    def end_after(self, moment: datetime) -> datetime:
        """The first moment from this one on that is not quiet, in UTC; the moment itself when it is not."""
        found = moment.astimezone(UTC)
        for _ in range(_MOST_CHANGES):
            if not self.covers(found):
                return found
            # As long as the clocks are not changed, quiet ends when they show `end`.
            usual = found + _until(found.astimezone(self.zone).time(), self.end)
            change = self._change(found, usual)
            if change is None:
                return usual
            found = change
        raise ValueError(f"quiet hours {self.begin:%H:%M}-{self.end:%H:%M} never end in {self.zone.key}")

    def _change(self, after: datetime, until: datetime) -> datetime | None:
        """The first change of the clocks after the one moment, and up to the other."""
        early, offset = after, self._offset(after)
        while early < until:
            late = min(early + _STEP, until)
            if self._offset(late) != offset:
                return self._exactly(early, late)
            early = late
        return None

    def _exactly(self, early: datetime, late: datetime) -> datetime:
        """The change between the two, which is at a whole second."""
        before, after = early.replace(microsecond=0), late.replace(microsecond=0)
        if after < late:
            after += _SECOND
        while after - before > _SECOND:
            middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
            if self._offset(middle) == self._offset(early):
                before = middle
            else:
                after = middle
        return after

    def _offset(self, moment: datetime) -> timedelta | None:
        return moment.astimezone(self.zone).utcoffset()


def parse_span(text: str) -> tuple[time, time]:
    """Begin and end of `20:00-08:00`.

    Raises:
        ValueError: when it is anything else.
    """
    found = _SPAN.fullmatch(text.strip())
    try:
        if found is not None:
            return time.fromisoformat(found[1]), time.fromisoformat(found[2])
    except ValueError:
        pass  # 25:00
    raise ValueError(f"expected two times of day such as 20:00-08:00, got {text!r:.60}")


def time_zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name.

    Raises:
        ValueError: when there is none.
    """
    try:
        return ZoneInfo(name)
    # A name may be that of a folder, too long for a file's, or lead out of the database of zones.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone's name such as America/Chicago, got {name!r:.60}") from None


def _until(clock: time, end: time) -> timedelta:
    """How far the clock is from showing `end`, less than a day."""
    return (_since_midnight(end) - _since_midnight(clock)) % _DAY


def _since_midnight(clock: time) -> timedelta:
    return timedelta(
        hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond
    )
