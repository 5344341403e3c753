"""Every read of the dashboard and the API at a million jobs: its time, its slowest statement, its indexes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg

from benchmarks.million import LOAD_JOBS, LOAD_PAYMENTS, LOAD_ROLL_UP, LOAD_SAMPLES
from benchmarks.plans import plans_of, statements_of
from deployments.output import print_table
from models import (
    backlog,
    backlog_samples,
    bulk,
    database,
    error_groups,
    listing,
    lookup,
    metrics,
    payments_in_doubt,
    scrape,
    stats,
    store_health,
)
from models.counters import Counters
from models.filters import JobFilter, Period

ROUNDS = 5
#: No statement may take longer: the queue has better to do.
MOST_MILLISECONDS = 100.0
_HOT = (
    "background_jobs", "job_failures", "job_metrics", "backlog_samples", "retried_jobs", "audit_log", "payments",
)  # fmt: skip


def reads(now: datetime) -> dict[str, Callable[[], object]]:
    """Each read by name, with the filters that are hard on it; `now` by the database's clock."""
    hour, day, month = (Period.last(hours, now) for hours in (1, 24, 720))
    lately, this_minute = Period.last(0.25, now), Period.last(1 / 60, now)
    old_day = Period(now - timedelta(days=20), now - timedelta(days=19))
    group = "type_3:Error2:no answer"
    one_type = JobFilter(job_types=("type_3",))
    counters = Counters()
    return {
        "series, an hour": lambda: metrics.series(hour),
        "series, a day": lambda: metrics.series(day),
        "series, a month": lambda: metrics.series(month),
        "series, a day of one type": lambda: metrics.series(day, one_type),
        "totals, a day": lambda: metrics.totals(day),
        "totals, the day before": lambda: metrics.totals(day.before()),
        "totals, this minute": lambda: metrics.totals(this_minute),
        "by_type, a quarter of an hour": lambda: metrics.by_type(lately),
        "by_type, a day": lambda: metrics.by_type(day),
        "by_priority, a day": lambda: metrics.by_priority(day),
        "throughput_by_type, a day": lambda: metrics.throughput_by_type(day),
        "expected_duration": lambda: metrics.expected_duration("type_3"),
        "get_stats": stats.get_stats,
        "backlog": backlog.backlog,
        "ages": backlog.ages,
        "ages of one type": lambda: backlog.ages(one_type),
        "ages of a priority": lambda: backlog.ages(JobFilter(priorities=(4,))),
        "drain_time": backlog.drain_time,
        "running of one type": lambda: backlog.running(one_type),
        "backlog_series, an hour": lambda: backlog_samples.backlog_series(hour),
        "backlog_series, a month": lambda: backlog_samples.backlog_series(month),
        "backlog_series, a month of one type": lambda: backlog_samples.backlog_series(month, one_type),
        "backlog_at, a day ago": lambda: backlog_samples.backlog_at(day.start),
        "backlog_at, a month ago": lambda: backlog_samples.backlog_at(month.start, one_type),
        "next_scheduled": backlog.next_scheduled,
        "oldest_pending": backlog.oldest_pending,
        "active_jobs": listing.active_jobs,
        "workers": listing.workers,
        "failed_groups": error_groups.failed_groups,
        "failed_groups of one type": lambda: error_groups.failed_groups(one_type),
        "failed_groups of a period": lambda: error_groups.failed_groups(JobFilter(period=old_day)),
        "failed_groups of a priority": lambda: error_groups.failed_groups(JobFilter(priorities=(4,))),
        "failed_groups with a text": lambda: error_groups.failed_groups(JobFilter(text="customer c-69")),
        "preview_retry, all": lambda: bulk.preview_retry(JobFilter()),
        "preview_retry, a group": lambda: bulk.preview_retry(JobFilter(fingerprint=group)),
        "page": listing.page,
        "page of failed": lambda: listing.page(JobFilter(statuses=("failed",))),
        "page of a group": lambda: listing.page(JobFilter(fingerprint=group)),
        "page of cancelled": lambda: listing.page(JobFilter(statuses=("cancelled",))),
        "page of finished": lambda: listing.page(JobFilter(statuses=("completed", "failed", "cancelled"))),
        "page of an old day": lambda: listing.page(JobFilter(period=old_day)),
        "page with a text nobody has": lambda: listing.page(JobFilter(text="no such text")),
        "page of a type nobody has": lambda: listing.page(JobFilter(job_types=("no such type",))),
        "newest_jobs, cancelled": lambda: lookup.newest_jobs(status="cancelled"),
        "audit": listing.audit,
        "audit_of": lambda: listing.audit_of("job 77"),
        "audit_of a type, long ago": lambda: listing.audit_of("type_3", 5),
        "payments in doubt": payments_in_doubt.payments_in_doubt,
        "scrape": lambda: scrape.scrape(counters),
        "store health": store_health.health,
    }


def measure() -> None:
    """Prints a line for each read, and whether a statement took longer than it may."""
    load()
    rows, slow = [], []
    for name, read in reads(metrics.database_now()).items():
        read()
        taken, slowest = [], []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            read()
            taken.append((time.perf_counter() - began) * 1000)
            slowest.append(max(each.milliseconds for each in statements_of(read)))
        plans = plans_of(read)
        used = {index for plan in plans for table in _HOT for index in plan.indexes_of(table)}
        worst = statistics.median(slowest)
        if worst > MOST_MILLISECONDS:
            slow.append(name)
        rows.append(
            (
                name, f"{statistics.median(taken):.1f}", str(len(plans)), f"{worst:.1f}",
                f"{sum(plan.buffers for plan in plans):,}", ", ".join(sorted(used)),
            )
        )  # fmt: skip
    print_table(
        f"Reads at a million jobs, 100,000 of them failed in 40 groups (milliseconds, median of {ROUNDS})",
        ("read", "whole", "statements", "slowest", "buffers", "read by"),
        rows,
    )
    print(f"over {MOST_MILLISECONDS:.0f} ms: {', '.join(slow) or 'none'}")


def load() -> None:
    """Fills the empty tables of this process's database."""
    with psycopg.connect(database.database_url(), autocommit=True) as connection:
        for statements in (LOAD_JOBS, LOAD_ROLL_UP, LOAD_PAYMENTS, LOAD_SAMPLES):
            connection.execute(statements)
        connection.execute("VACUUM ANALYZE")
