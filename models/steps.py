"""The steps of a chart and the edges of a period, as the roll-ups can tell them.

Both roll-ups, of what ended and of the backlog, keep minutes for 48 hours and hours for 13 months, each event in one
row. What is older than two days can only be told by the hour, so edges there are moved down to the hour: a period and
the one before it never count an event twice and never lose one, whether its minutes have been merged yet or not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from models.filters import Period

#: Minutes of a chart's step: round numbers, up to a week.
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 10080)
#: Hours that may have been merged: MINUTES_KEPT of `models.retention`, less one, as the clock goes on meanwhile.
_BY_THE_HOUR_AFTER = timedelta(hours=47)


def clock(connection: psycopg.Connection[Any]) -> datetime:
    """The database's clock, UTC; from here on its transaction reads periods along the roll-ups' keys."""
    # A period is a range of the key. Asked for half of a small roll-up, the planner would rather read it as a whole.
    connection.execute("SET LOCAL enable_seqscan = off")
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    now: datetime = row[0].astimezone(UTC)
    return now


def floor(moment: datetime, minutes: int) -> datetime:
    """Down to a whole number of such steps since 1970, as date_bin does it."""
    seconds = minutes * 60
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


def merged(moment: datetime, now: datetime) -> bool:
    """Whether the minutes of that time may be merged into hours by now."""
    return moment < now - _BY_THE_HOUR_AFTER


def told_apart(period: Period, now: datetime) -> Period:
    """The period with its edges where the roll-up can tell them: what may be merged begins and ends at whole hours.

    A row of the roll-up belongs to the period in which it begins. Each edge is moved by itself, so that where one
    period ends, the next still begins; only what lies within one merged hour is widened, to that hour.
    """
    start, end = (floor(edge, 60) if merged(edge, now) else edge for edge in (period.start, period.end))
    return Period(start, end if end > start else start + timedelta(hours=1))


def closed_steps(period: Period, buckets: int, now: datetime) -> tuple[Period | None, int]:
    """The closed steps of a period (None when there is none yet), and how many minutes one has.

    Raises:
        ValueError: for fewer than one bucket.
    """
    if buckets < 1:
        raise ValueError(f"buckets: expected 1 or more, got {buckets}")
    minutes = period.length.total_seconds() / 60
    finest = 60 if merged(period.start, now) else 1
    step = next((each for each in STEPS if each >= finest and minutes / each <= buckets), STEPS[-1])
    start, end = floor(period.start, step), floor(min(period.end, now), step)
    return (Period(start, end) if end > start else None), step


def every_step(period: Period, step: int) -> list[datetime]:
    """The beginnings of a period's steps of so many minutes."""
    length = timedelta(minutes=step)
    return [period.start + number * length for number in range(int(period.length / length))]
