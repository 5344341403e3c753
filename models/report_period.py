"""What a report is about: whole days in UTC, and the steps its tables go in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import pandas as pd

from models.filters import Period

Step = Literal["day", "week", "month"]
#: Ten years; and more rows than that nobody reads.
MOST_DAYS, MOST_STEPS = 3660, 400
_FREQUENCIES = {"day": "D", "week": "W-SUN", "month": "M"}


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """From the day `first` to the day `last`, both included, by `step`; weeks begin on Monday.

    Raises:
        ValueError: when `last` is before `first`, or the period has more steps than fit in a table.
    """

    first: date
    last: date
    step: Step = "day"

    def __post_init__(self) -> None:
        if not timedelta() <= self.last - self.first < timedelta(days=MOST_DAYS):
            raise ValueError(
                f"expected a last day from {self.first} on, {MOST_DAYS:,} days at most, got {self.last}"
            )
        if len(self.steps()) > MOST_STEPS:
            raise ValueError(
                f"expected at most {MOST_STEPS} steps, got {len(self.steps())}: group by week or month"
            )

    @classmethod
    def last_week(cls, today: date, step: Step = "day") -> ReportPeriod:
        """The last week, Monday to Sunday, that was over by `today`."""
        sunday = today - timedelta(days=today.isoweekday())
        return cls(sunday - timedelta(days=6), sunday, step)

    def steps(self) -> list[str]:
        """The first day of each step, as ISO text; the first may begin before the period."""
        days = pd.period_range(self.first, self.last, freq=_FREQUENCIES[self.step])
        return [day.start_time.date().isoformat() for day in days]

    def before(self) -> ReportPeriod:
        """As many days, right before."""
        days = self.last - self.first + timedelta(days=1)
        return ReportPeriod(self.first - days, self.last - days, self.step)

    def times(self) -> Period:
        """From the first day's midnight to the last day's."""
        return Period(*(datetime.combine(day, time(), UTC) for day in (self.first, self.last + timedelta(days=1))))

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
