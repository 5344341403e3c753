"""The dashboard's only way to what it shows, and the only module that caches: N viewers cost one query a tick.

`read` never raises: where a read fails, the last good answer is shown with the time since when it is stale, and the
database is left alone for a moment.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar

import httpx
import pandas as pd
import psycopg
import sqlalchemy.exc
import streamlit as st

from dashboard import prefect_api
from dashboard.verdict import Ended, Facts, Waiting
from models import backlog as queue
from models import database, listing, lookup, metrics, operations, services, stats, store_health
from models.filters import JobFilter, Period
from models.paging import MOST_ROWS

#: Just under the shortest refresh interval, so that every tick sees something new and reads it once.
TICK = 4.5
#: What is keyed by a closed bucket does not change any more; the key does.
CLOSED = 900.0
#: A bucket counts as closed this long after its end: what ended in it has been committed by then.
GRACE = timedelta(seconds=5)
#: After a failed read the same one is not tried again for so long: who is ill is not shaken.
PAUSE_SECONDS = 4.0
#: Answers that are kept for the case that the next read fails.
KEPT = 200
#: Rows of a CSV file at most.
MOST_EXPORTED = 100_000

P = ParamSpec("P")
T = TypeVar("T")
#: What a read may fail with; anything else is a mistake of ours and is seen as such.
TROUBLE = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, httpx.HTTPError, OSError, prefect_api.PrefectError)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a read gave: `value` (None: nothing yet), and since when it is stale and why, where the read failed."""

    value: T | None
    stale_since: datetime | None = None
    problem: str | None = None


_lock = threading.Lock()
_good: OrderedDict[Hashable, tuple[Any, datetime]] = OrderedDict()
_bad: dict[Hashable, tuple[float, str]] = {}


def read(load: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
    """The answer of one of this module's loaders, or the last good one."""
    key = (getattr(load, "__name__", repr(load)), *(_lasting(each) for each in (*args, *kwargs.values())))
    with _lock:
        failed_at, problem = _bad.get(key, (float("-inf"), ""))
    if time.monotonic() - failed_at >= PAUSE_SECONDS:
        try:
            value = load(*args, **kwargs)
        except TROUBLE as error:
            problem = in_words(error)
            with _lock:
                _bad[key] = (time.monotonic(), problem)
        else:
            with _lock:
                _bad.pop(key, None)
                _good[key] = (value, datetime.now(UTC))
                _good.move_to_end(key)
                while len(_good) > KEPT:
                    _good.popitem(last=False)
            return Answer(value)
    with _lock:
        kept = _good.get(key)
    return Answer(None, None, problem) if kept is None else Answer(kept[0], kept[1], problem)


def forget() -> None:
    """Reads everything anew from here on: after an action its result is seen at once."""
    st.cache_data.clear()
    with _lock:
        _good.clear()
        _bad.clear()


def refresh() -> None:
    """As `forget`, but keeps the last good answers for the case that reading fails."""
    st.cache_data.clear()
    with _lock:
        _bad.clear()


def _lasting(argument: Hashable) -> Hashable:
    # A period moves on with the clock; the last answer for one of its length is better than none.
    if isinstance(argument, Period):
        return argument.length
    return argument


def in_words(error: Exception) -> str:
    """Why a read or an action failed, for people; the error's own words may hold what a row holds."""
    match error:
        case psycopg.errors.QueryCanceled():
            return "the database took longer than 2 s"
        case psycopg.OperationalError() | sqlalchemy.exc.OperationalError() | OSError():
            return "the database does not answer"
        case sqlalchemy.exc.TimeoutError():
            return "the database is busy"
        case prefect_api.PrefectError() | httpx.HTTPError():
            return "Prefect does not answer"
        case _:
            return "the database refused the question"


@st.cache_data(ttl=TICK, show_spinner=False)
def now() -> datetime:
    """The database's clock."""
    return metrics.database_now()


def last(hours: float, step_minutes: int = 1) -> Period:
    """The last hours up to the last closed step: the same all the step long, as a cache's key must be."""
    step = step_minutes * 60
    end = datetime.fromtimestamp((now() - GRACE).timestamp() // step * step, UTC)
    return Period.last(hours, end)


def facts() -> Facts:
    """What the verdict is based on."""
    held = {row["job_type"]: row for row in job_types()}
    moment, pending, crew = now(), backlog(), workers()
    silent = crew[crew["heartbeat_lost"]]
    recent = by_type(last(0.25), JobFilter())
    estimate = drain()
    due = pending[pending["due"] > 0]
    watched = read(health).value
    return Facts(
        workers=int((~crew["heartbeat_lost"]).sum()),
        silent_workers=len(silent),
        jobs_of_silent=int(silent["running"].sum()),
        waiting=[
            _waiting(str(name), lanes, held.get(str(name), {}), moment) for name, lanes in due.groupby("job_type")
        ],
        ended=[
            Ended(str(row["job_type"]), int(row["completed"]), int(row["failed"])) for row in recent.to_dict("records")
        ],
        drain_seconds=None if estimate.low_seconds is None else (estimate.low_seconds, estimate.high_seconds),
        # The silent workers are told already, with their jobs.
        store_warnings=[each for each in watched.warnings if "heartbeat" not in each] if watched else [],
    )


def _waiting(job_type: str, lanes: pd.DataFrame, declared: Mapping[str, Any], moment: datetime) -> Waiting:
    until = declared.get("held_until")
    return Waiting(
        job_type,
        int(lanes["due"].sum()),
        float(lanes["oldest_due_seconds"].max()),
        capped=bool(lanes["capped"].any()),
        paused=bool(declared.get("paused")),
        held_seconds=None if until is None else (until - moment).total_seconds(),
        held_reason=declared.get("held_reason"),
    )


@dataclass(frozen=True, slots=True)
class Numbers:
    """The overview in numbers: now, in a period, and in the one before it."""

    stats: stats.QueueStats
    oldest_seconds: float | None
    drain: queue.DrainEstimate
    period: metrics.Totals
    before: metrics.Totals


def numbers(hours: float, filter: JobFilter) -> Numbers:
    """The overview in numbers."""
    period = last(hours)
    return Numbers(totals_now(), oldest_pending(), drain(), totals(period, filter), totals(period.before(), filter))


@dataclass(frozen=True, slots=True)
class Charts:
    """What the overview's charts are made of."""

    series: pd.DataFrame
    by_type: pd.DataFrame
    throughput: pd.DataFrame


def charts(hours: float, step_minutes: int, filter: JobFilter) -> Charts:
    """The overview's charts: the steps of a period that are closed."""
    period = last(hours, step_minutes)
    buckets = round(hours * 60 / step_minutes)
    return Charts(
        series(period, filter, buckets), by_type(last(hours), filter), throughput_by_type(period, filter, buckets)
    )


def queue_now() -> tuple[pd.DataFrame, queue.DrainEstimate, float | None]:
    """What waits, until when, and how long the oldest has been due."""
    return backlog(), drain(), oldest_pending()


def waits(hours: float) -> pd.DataFrame:
    """A period by priority."""
    return by_priority(last(hours, 60), JobFilter())


# What is now.


@st.cache_data(ttl=TICK, show_spinner=False)
def totals_now() -> stats.QueueStats:
    return stats.get_stats()


@st.cache_data(ttl=TICK, show_spinner=False)
def backlog() -> pd.DataFrame:
    return queue.backlog()


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=50)
def ages(filter: JobFilter) -> pd.DataFrame:
    return queue.ages(filter)


@st.cache_data(ttl=TICK, show_spinner=False)
def drain() -> queue.DrainEstimate:
    return queue.drain_time()


@st.cache_data(ttl=TICK, show_spinner=False)
def oldest_pending() -> float | None:
    return queue.oldest_pending()


@st.cache_data(ttl=TICK, show_spinner=False)
def next_scheduled(limit: int) -> pd.DataFrame:
    return queue.next_scheduled(limit)


@st.cache_data(ttl=TICK, show_spinner=False)
def active() -> pd.DataFrame:
    return listing.active_jobs()


@st.cache_data(ttl=TICK, show_spinner=False)
def workers() -> pd.DataFrame:
    return listing.workers()


@st.cache_data(ttl=TICK, show_spinner=False)
def held_services() -> list[services.ServiceState]:
    return services.service_states()


@st.cache_data(ttl=TICK, show_spinner=False)
def job_types() -> list[dict[str, Any]]:
    """The declared job types, by name, with what operators set."""
    return [row.model_dump() for row in lookup.declared_types()]


@st.cache_data(ttl=TICK, show_spinner=False)
def health() -> store_health.StoreHealth:
    return store_health.health()


# What was: by closed buckets.


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def series(period: Period, filter: JobFilter, buckets: int) -> pd.DataFrame:
    return metrics.series(period, filter, buckets)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def throughput_by_type(period: Period, filter: JobFilter, buckets: int) -> pd.DataFrame:
    return metrics.throughput_by_type(period, filter, buckets)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=200)
def totals(period: Period, filter: JobFilter) -> metrics.Totals:
    return metrics.totals(period, filter)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def by_type(period: Period, filter: JobFilter) -> pd.DataFrame:
    return metrics.by_type(period, filter)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def by_priority(period: Period, filter: JobFilter) -> pd.DataFrame:
    return metrics.by_priority(period, filter)


# Jobs.


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=50)
def groups(filter: JobFilter, limit: int) -> pd.DataFrame:
    return listing.failed_groups(filter, limit)


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=100)
def page(filter: JobFilter, cursor: str | None, limit: int) -> listing.Page:
    return listing.page(filter, cursor, limit)


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=200)
def job(job_id: str) -> dict[str, Any] | None:
    found = lookup.find_job(job_id)
    return None if found is None else found.model_dump()


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=200)
def failures(job_id: str) -> list[dict[str, Any]]:
    return [failure.model_dump() for failure in lookup.failures_of(job_id)]


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=200)
def audit_of(target: str) -> pd.DataFrame:
    return listing.audit_of(target)


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=20)
def preview(filter: JobFilter) -> operations.Preview:
    return operations.preview_retry(filter)


@st.cache_data(ttl=1.0, show_spinner=False)
def bulk_actions(limit: int) -> pd.DataFrame:
    return operations.bulk_actions(limit)


def export(filter: JobFilter, columns: Sequence[str]) -> pd.DataFrame:
    """The first hundred thousand jobs that pass a filter, newest first; read when the file is asked for."""
    parts: list[pd.DataFrame] = []
    rows, cursor = 0, None
    while rows < MOST_EXPORTED:
        found = listing.page(filter, cursor, MOST_ROWS)
        parts.append(found.frame[list(columns)])
        rows += len(found.frame)
        cursor = found.next_cursor
        if cursor is None:
            break
    return pd.concat(parts, ignore_index=True).head(MOST_EXPORTED)


# Prefect.


@st.cache_data(ttl=TICK, show_spinner=False)
def deployments() -> pd.DataFrame:
    return prefect_api.deployments()


def database_is_there() -> bool:
    """Whether a database can be reached at all."""
    try:
        database.engine()
    except TROUBLE:
        return False
    return True
