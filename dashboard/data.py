"""The dashboard's only way to what it shows, and the only module that caches: N viewers cost one query a tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import answers, prefect_api
from dashboard.verdict import LATELY_SECONDS, Ended, Facts, Waiting
from models import backlog as queue
from models import (
    backlog_samples,
    listing,
    lookup,
    metrics,
    operations,
    payments_in_doubt,
    services,
    stats,
    store_health,
)
from models.filters import JobFilter, Period
from models.paging import MOST_ROWS

#: Just under the shortest refresh interval, so that every tick sees something new and reads it once.
TICK = 4.5
#: What is keyed by a closed bucket does not change any more; the key does.
CLOSED = 900.0
#: A bucket counts as closed this long after its end: what ended in it has been committed by then.
GRACE = timedelta(seconds=5)
#: Rows of a CSV file at most.
MOST_EXPORTED = 100_000


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
    estimate = drain()
    due = pending[pending["due"] > 0]
    watched = answers.read(health).value
    return Facts(
        workers=int((~crew["heartbeat_lost"]).sum()),
        silent_workers=len(silent),
        jobs_of_silent=int(silent["running"].sum()),
        waiting=[
            _waiting(str(name), lanes, held.get(str(name), {}), moment) for name, lanes in due.groupby("job_type")
        ],
        ended=[
            Ended(str(row["job_type"]), int(row["completed"]), int(row["failed"]))
            for row in ended_lately().to_dict("records")
        ],
        drain_seconds=None if estimate.low_seconds is None else (estimate.low_seconds, estimate.high_seconds),
        # The silent workers are told already, with their jobs.
        store_warnings=[each for each in watched.warnings if "heartbeat" not in each] if watched else [],
        payments=payments(),
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
class Live:
    """What waits and runs now, of a filter's jobs. `capped`: at least so many are `waiting`; `parts_capped`: are `due`
    or `scheduled` for later."""

    waiting: int
    due: int
    scheduled: int
    running: int
    oldest_seconds: float | None
    estimated: bool
    capped: bool
    parts_capped: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """The overview in numbers: now, in a period up to now, and in the one before it; `then`: at this moment one period
    ago, None where no worker sampled it or the samples cannot tell the filter's jobs apart."""

    stats: stats.QueueStats
    live: Live
    then: backlog_samples.Moment | None
    drain: queue.DrainEstimate
    period: metrics.Totals
    before: metrics.Totals


def numbers(hours: float, filter: JobFilter) -> Numbers:
    """The overview in numbers."""
    period = last(hours)
    return Numbers(
        totals_now(), live(filter), backlog_at(period.start, filter), drain(),
        totals_up_to_now(hours, filter), totals(period.before(), filter),
    )  # fmt: skip


def totals_up_to_now(hours: float, filter: JobFilter) -> metrics.Totals:
    """What ended in the last hours, up to now."""
    period = last(hours)
    return totals(period, filter) + totals_since(period.end, filter)


def live(filter: JobFilter) -> Live:
    """What waits and runs now, of the filter's job types and priorities."""
    lanes, whole = backlog(), filter == JobFilter()
    if filter.job_types:
        lanes = lanes[lanes["job_type"].isin(filter.job_types)]
    if filter.priorities:
        lanes = lanes[lanes["priority"].isin(filter.priorities)]
    due, scheduled, capped = int(lanes["due"].sum()), int(lanes["scheduled"].sum()), bool(lanes["capped"].any())
    if whole:
        found, oldest = totals_now(), oldest_pending()
        return Live(found.queue_length, due, scheduled, found.processing, oldest, found.estimated, False, capped)
    longest = float(lanes["oldest_due_seconds"].max())
    oldest = longest if longest == longest else None
    return Live(due + scheduled, due, scheduled, running(filter), oldest, False, capped, capped)


@dataclass(frozen=True, slots=True)
class Charts:
    """What the overview's charts are made of; `backlog` None: the samples cannot tell the filter's jobs apart.

    `anything`: whether an attempt has ended in the period at all, be it in a step that is not closed yet.
    """

    anything: bool
    series: pd.DataFrame
    by_type: pd.DataFrame
    throughput: pd.DataFrame
    backlog: pd.DataFrame | None


def charts(hours: float, step_minutes: int, filter: JobFilter) -> Charts:
    """The overview's charts: the steps of a period that are closed."""
    period = last(hours, step_minutes)
    buckets = round(hours * 60 / step_minutes)
    ended = totals_up_to_now(hours, filter)
    return Charts(
        bool(ended.completed + ended.failed + ended.retried),
        series(period, filter, buckets),
        by_type(last(hours), filter),
        throughput_by_type(period, filter, buckets),
        backlog_series(period, filter, buckets) if backlog_samples.can_tell(filter) else None,
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


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=50)
def running(filter: JobFilter) -> int:
    return queue.running(filter)


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
def payments() -> payments_in_doubt.PaymentsInDoubt:
    return payments_in_doubt.payments_in_doubt()


@st.cache_data(ttl=TICK, show_spinner=False)
def health() -> store_health.StoreHealth:
    return store_health.health()


@st.cache_data(ttl=TICK, show_spinner=False)
def ended_lately() -> pd.DataFrame:
    """What ended lately, by job type: up to now, so that a failure is seen at once."""
    return metrics.by_type(Period.last(LATELY_SECONDS / 3600, now()))


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=50)
def totals_since(closed: datetime, filter: JobFilter) -> metrics.Totals:
    """What has ended after the last closed minute."""
    # `now` may be a tick old, and what ends is counted by the minute in which it does.
    return metrics.totals(Period(closed, closed + timedelta(hours=1)), filter)


# What was: by closed buckets.


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def series(period: Period, filter: JobFilter, buckets: int) -> pd.DataFrame:
    return metrics.series(period, filter, buckets)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def throughput_by_type(period: Period, filter: JobFilter, buckets: int) -> pd.DataFrame:
    return metrics.throughput_by_type(period, filter, buckets)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=100)
def backlog_series(period: Period, filter: JobFilter, buckets: int) -> pd.DataFrame:
    return backlog_samples.backlog_series(period, filter, buckets)


@st.cache_data(ttl=CLOSED, show_spinner=False, max_entries=200)
def backlog_at(moment: datetime, filter: JobFilter) -> backlog_samples.Moment | None:
    return backlog_samples.backlog_at(moment, filter)


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
def audit_of(target: str, limit: int = 100) -> pd.DataFrame:
    return listing.audit_of(target, limit)


@st.cache_data(ttl=TICK, show_spinner=False, max_entries=20)
def audit_of_each(targets: tuple[str, ...]) -> pd.DataFrame:
    return listing.audit_of_each(targets)


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
