"""The backlog's past: a sample each minute, taken by whichever worker comes first, and read as frames.

When no worker runs nobody samples; such a minute has no row and is a gap, not a zero. In a minute that was sampled, a
job type without a row had no jobs.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Index, Integer, SmallInteger, String, text
from sqlmodel import Field, SQLModel

from models.filters import JobFilter, Period
from models.jobs import JOB_TYPE_LENGTH
from models.reading import reading
from models.sql import statement
from models.steps import clock, closed_steps, every_step, floor, merged

logger = logging.getLogger(__name__)

#: What waits in the whole queue is counted up to here, due and scheduled each: about 10 ms.
WHOLE_COUNTED = 100_000
#: By type, all lanes (a type at one priority) together: about 30 ms, once a minute.
LANES_COUNTED = 200_000
#: It is the heartbeat's thread that samples; a sample is never worth a beat. The next minute tries again.
SAMPLE_SECONDS = 1.0
#: "The same moment" is these minutes before it: a single sample may be a spike, or missing.
MOMENT_MINUTES = 5
_NO_FILTER = JobFilter()


class BacklogSample(SQLModel, table=True):
    """What waited and ran in one minute (later: hour), of the whole queue (`job_type` empty) or of one job type.

    Counts and `oldest_seconds` are sums over `samples`, so that rows can be added; an hour's means are over the samples
    of the whole queue's row, as a type has rows only where it had jobs.
    """

    __tablename__ = "backlog_samples"

    job_type: str = Field(
        sa_column=Column(
            String(JOB_TYPE_LENGTH),
            primary_key=True,
            comment="Empty: the whole queue; each minute that was sampled has that row.",
        )
    )
    bucket: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    resolution: int = Field(sa_column=Column(SmallInteger, primary_key=True, comment="Minutes: 1 or 60."))
    samples: int = Field(
        sa_column=Column(
            Integer,
            nullable=False,
            server_default=text("1"),
            comment="In which it had jobs. Counts and oldest_seconds are sums over them.",
        )
    )
    due: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    scheduled: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    running: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    oldest_seconds: float = Field(
        sa_column=Column(
            Double, nullable=False, server_default=text("0"), comment="How long the first due job had been due."
        )
    )
    oldest_most: float = Field(
        sa_column=Column(Double, nullable=False, server_default=text("0"), comment="The most of them.")
    )
    capped: bool = Field(
        sa_column=Column(
            Boolean,
            nullable=False,
            server_default=text("false"),
            comment="A count stopped at its bound: there were at least so many.",
        )
    )

    __table_args__ = (Index("ix_backlog_samples_bucket", "bucket"),)


class Sampler:
    """Takes the minute's sample unless another worker has; asked every few seconds, mostly one probe of an index."""

    def __init__(self) -> None:
        self._not_before = 0.0

    def look(self, connection: psycopg.Connection[Any]) -> None:
        """Samples if it is due; what takes longer than a second is left out, as nothing else depends on it."""
        if time.monotonic() < self._not_before:
            return
        try:
            with connection.transaction():
                # A lost sample is a gap of a minute, and the commit need not wait for the disk.
                connection.execute("SET LOCAL synchronous_commit = off")
                connection.execute(f"SET LOCAL statement_timeout = {round(SAMPLE_SECONDS * 1000)}")
                connection.execute("SET LOCAL jit = off")
                connection.execute(statement("along_the_indexes"))
                connection.execute(statement("sample_backlog"), {"whole": WHOLE_COUNTED, "lanes": LANES_COUNTED})
        except psycopg.errors.QueryCanceled:
            self._not_before = time.monotonic() + 60
            logger.warning("a sample of the backlog took longer than %g s and is left out", SAMPLE_SECONDS)


@dataclass(frozen=True, slots=True)
class Moment:
    """The backlog at one time: jobs that were due, scheduled for later and running (means over `samples` samples), and
    the seconds that the oldest had been due, 0 when none was. `capped`: at least so many."""

    samples: int
    due: float
    scheduled: float
    running: float
    oldest_seconds: float
    capped: bool


def backlog_series(period: Period, filter: JobFilter = _NO_FILTER, buckets: int = 60) -> pd.DataFrame:
    """The backlog in each closed step of a period, about `buckets` of them at most, oldest first.

    Columns: `bucket` (its beginning, UTC), `due` and `running` (means over the step's samples), `oldest_most` (the
    longest that a job had been due, in seconds) - all NaN where no worker sampled - and `capped` (at least so many).
    `frame.attrs["step_seconds"]` says how long a step is. `filter`: its job types count; its priorities cannot, see
    `can_tell`.
    """
    with reading() as connection:
        asked, step = closed_steps(period, buckets, clock(connection))
        rows = [] if asked is None else _rows(connection, asked, filter, step)
    found = {row["step"].astimezone(UTC): row for row in rows}
    steps = [] if asked is None else every_step(asked, step)
    frame = pd.DataFrame({"bucket": pd.to_datetime(pd.Series(steps, dtype=object), utc=True)})
    for name in ("due", "running", "oldest_most"):
        frame[name] = pd.Series([found[each][name] if each in found else None for each in steps], dtype=float)
    frame["capped"] = pd.Series([each in found and found[each]["capped"] for each in steps], dtype=bool)
    frame.attrs["step_seconds"] = step * 60
    return frame


def backlog_at(moment: datetime, filter: JobFilter = _NO_FILTER) -> Moment | None:
    """The backlog in the five minutes before `moment`, or in its hour where the minutes may be merged (two days ago).

    None: no worker sampled it then, or the samples cannot tell the filter's jobs apart.
    """
    if not can_tell(filter):
        return None
    with reading() as connection:
        if merged(moment, clock(connection)):
            hour = floor(moment, 60)
            asked = Period(hour, hour + timedelta(hours=1))
        else:
            asked = Period(moment - timedelta(minutes=MOMENT_MINUTES), moment)
        rows = _rows(connection, asked, filter, None)
    names = ("samples", "due", "scheduled", "running", "oldest_seconds", "capped")
    return Moment(**{name: rows[0][name] for name in names}) if rows else None


def can_tell(filter: JobFilter) -> bool:
    """Whether the samples can be narrowed like that: they are by job type, not by priority."""
    return not filter.priorities


def _rows(
    connection: psycopg.Connection[Any], period: Period, filter: JobFilter, step: int | None
) -> list[dict[str, Any]]:
    cursor = connection.execute(
        statement("backlog_samples"),
        {
            "since": period.start, "until": period.end, "job_types": list(filter.job_types) or [""],
            "by_step": step is not None, "step": step or 1,
        },
    )  # fmt: skip
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
