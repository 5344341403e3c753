"""What a look at the jobs is narrowed to: frozen, so that it can be a cache's key; plain JSON in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from models.ids import can_be_stored
from models.jobs import JobStatus
from models.priority import HIGHEST_PRIORITY, LOWEST_PRIORITY

#: A longer text to look for is no text that somebody typed.
TEXT_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` (included) to `end` (not included), both with their zone; kept in UTC.

    Raises:
        ValueError: for times without a zone, or when `end` is not after `start`.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment.tzinfo is None:
                raise ValueError(f"{name}: expected a time with its zone, got {moment.isoformat()} without one")
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.end <= self.start:
            raise ValueError(f"end: expected a time after {self.start.isoformat()}, got {self.end.isoformat()}")

    @classmethod
    def last(cls, hours: float, now: datetime) -> Period:
        """The last `hours` before `now` (`metrics.database_now()`)."""
        return cls(now - timedelta(hours=hours), now)

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def before(self) -> Period:
        """The period of the same length that ends where this one starts."""
        return Period(self.start - self.length, self.start)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; what is empty narrows nothing.

    `text` is looked for in the error message and the payload, without regard to case, but not in fields of the payload
    that are masked or have something masked inside (`models.text_search`). `period`: for failed jobs when they failed,
    for others when they were added. `fingerprint`: the error group of failed jobs.

    Raises:
        ValueError: for a status or priority there is not, or a text that no row can hold.
    """

    job_types: tuple[str, ...] = ()
    priorities: tuple[int, ...] = ()
    statuses: tuple[str, ...] = ()
    text: str = ""
    period: Period | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        for name in ("job_types", "priorities", "statuses"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [status for status in self.statuses if status not in set(JobStatus)]
        if unknown:
            raise ValueError(f"status: expected some of {', '.join(JobStatus)}, got {unknown[0]!r}")
        wrong = [each for each in self.priorities if not LOWEST_PRIORITY <= each <= HIGHEST_PRIORITY]
        if wrong:
            raise ValueError(f"priority: expected {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, got {wrong[0]!r}")
        if len(self.text) > TEXT_LIMIT:
            raise ValueError(f"text: expected at most {TEXT_LIMIT} characters, got {len(self.text)}")
        for text in (*self.job_types, self.text, self.fingerprint or ""):
            if not can_be_stored(text):
                raise ValueError(f"expected text that the database can hold, got {text!r:.60}")

    def parameters(self) -> dict[str, Any]:
        """As the statements take it: None where nothing is narrowed; `pattern` is for ILIKE."""
        return {
            "job_types": list(self.job_types) or None,
            "priorities": list(self.priorities) or None,
            "statuses": list(self.statuses) or None,
            "pattern": f"%{_escaped(self.text)}%" if self.text else None,
            "since": self.period.start if self.period else None,
            "until": self.period.end if self.period else None,
            "fingerprint": self.fingerprint,
        }

    def as_json(self) -> dict[str, Any]:
        """Plain JSON with only what narrows; `from_json` reads it back."""
        plain: dict[str, Any] = {
            name: list(getattr(self, name)) for name in ("job_types", "priorities", "statuses") if getattr(self, name)
        }
        if self.text:
            plain["text"] = self.text
        if self.period:
            plain["period"] = [self.period.start.isoformat(), self.period.end.isoformat()]
        if self.fingerprint is not None:
            plain["fingerprint"] = self.fingerprint
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> JobFilter:
        """The filter that `as_json` wrote."""
        values = dict(plain)
        if "period" in values:
            values["period"] = Period(*(datetime.fromisoformat(edge) for edge in values["period"]))
        return cls(**values)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
