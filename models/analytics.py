"""Daily figures: from the CRM and the roll-up into `analytics_daily`, however often with the same outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
import psycopg

from models import database
from models.adding import AddedJob, add_jobs
from models.analytics_table import MEASURES
from models.crm import CUSTOMER_TIERS, OpportunityStatus
from models.reading import fetch
from models.retention import POLICIES
from models.sql import statement

#: Computed again each time, besides what is missing or changed lately.
DAYS = 7
#: Further back nothing is computed: a date of 1970 in a CRM is a mistake, and not worth 20,000 days of zeros.
MOST_DAYS = 3650
#: A statement of 31 days takes some tens of milliseconds.
DAYS_AT_ONCE = 31
#: Of opportunities without a customer.
NO_TIER = "none"


@dataclass(frozen=True, slots=True)
class ComputedDays:
    """Some days that are done: which is the last, how many rows were new or different, and the share of all, 0 to 1."""

    days: int
    last: date
    rows: int
    share: float


def update_analytics(days: int = DAYS) -> Iterator[ComputedDays]:
    """Computes the figures of the last `days` days, of days that something changed lately belongs to, and of days back
    to the first data that lack any; a month per transaction.

    Run twice, the second run writes nothing. A day without events has zeros. Stage figures come from what opportunities
    are now, so they stand as soon as the day after theirs is over; job figures stand when the roll-up is gone.

    Raises:
        ValueError: when `days` is not from 1 to 3,650.
    """
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"days: expected 1 to {MOST_DAYS}, got {days}")
    wanted, figures = days_to_compute(days)
    done = 0
    while done < len(wanted):
        some = wanted[done : done + DAYS_AT_ONCE]
        with database.transaction() as connection:
            # One at a time, each with a snapshot of after the other's commit: an older one would write older figures.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('analytics_daily', 0))")
            since = _roll_up_since(connection)
            row = connection.execute(
                statement("update_analytics"), {**figures, "days": some, "roll_up_since": since}
            ).fetchone()
        assert row is not None
        done += len(some)
        yield ComputedDays(len(some), some[-1], row[0], done / len(wanted))


def queue_analytics(days: int = DAYS) -> AddedJob:
    """Adds an `update_analytics` job of low priority, unless one for as many days is waiting or running already."""
    (job,) = add_jobs(
        [
            {
                "type": "update_analytics",
                "payload": {"days": days},
                "priority": 3,
                "unique_key": f"update-analytics:{days}",
            }
        ]
    )
    return job


def days_to_compute(days: int = DAYS) -> tuple[list[date], dict[str, list[str]]]:
    """The days `update_analytics` would compute, and the figures each has, by column."""
    with database.transaction() as connection:
        figures = _figures(connection)
        rows = connection.execute(
            statement("analytics_days"), {**figures, "days": days, "most": MOST_DAYS}
        ).fetchall()
    return [row[0] for row in rows], figures


def daily_figures(first: date, last: date) -> pd.DataFrame:
    """The figures of these days, both included: `day`, `dimension`, `member`, `measure`, `value` (float)."""
    frame = fetch(
        "SELECT day, dimension, member, measure, value::float8 AS value FROM analytics_daily"
        " WHERE day BETWEEN %(first)s AND %(last)s ORDER BY day, dimension, member, measure",
        {"first": first, "last": last},
    )
    frame["day"] = pd.to_datetime(frame["day"])
    return frame


def _figures(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Every figure a day has: each measure of each tier, stage and job type that anybody knows or once ran."""
    rows = connection.execute(
        "SELECT job_type FROM job_types UNION SELECT job_type FROM job_metrics"
        " UNION SELECT member FROM analytics_daily WHERE dimension = 'job_type'"
    ).fetchall()
    members = {
        "tier": [*CUSTOMER_TIERS, NO_TIER],
        "job_type": sorted(row[0] for row in rows),
        "stage": [str(status) for status in OpportunityStatus],
    }
    each = [
        (dimension, member, measure)
        for dimension, measures in MEASURES.items()
        for member in members[dimension]
        for measure in measures
    ]
    columns = [list(column) for column in zip(*each, strict=True)]
    return dict(zip(("dimensions", "members", "measures"), columns, strict=True))


def _roll_up_since(connection: psycopg.Connection[Any]) -> date:
    """The first day whose jobs the roll-up still has whole; within its shortest retention, every day is."""
    (shortest,) = (policy.least for policy in POLICIES if policy.table == "job_metrics")
    row = connection.execute(
        "SELECT least((min(bucket) AT TIME ZONE 'UTC')::date + 1, (now() AT TIME ZONE 'UTC')::date - %s + 1)"
        " FROM job_metrics",
        [shortest],
    ).fetchone()
    assert row is not None
    since: date = row[0]
    return since
