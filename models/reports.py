"""What a report says: revenue, pipeline and job performance of a period, as frames and headline figures.

Revenue is what opportunities that were won are worth: the amount of their offer, without an offer their estimated
value, unknown as 0. It counts on the day the CRM gives as the close, but never after the opportunity's last change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import psycopg

from models import metrics
from models.crm import CUSTOMER_TIERS, OPEN_STATUSES
from models.reading import frame_of, reading
from models.report_period import ReportPeriod
from models.sql import statement

#: The reads of a report look through the CRM once each; longer, and something is wrong.
TIMEOUT_SECONDS = 60.0
#: The first days of the age groups of open opportunities.
AGES = (0, 8, 31, 61, 91)
MOST_DEALS = 25
MOST_FAILURES = 20
#: Bars of the chart of jobs.
_JOB_STEPS = 60

Kind = Literal["count", "money", "percent", "seconds", "text", "date", "time"]


@dataclass(frozen=True, slots=True)
class Headline:
    """One figure, and what it was in the period before; `good` says which way is better."""

    title: str
    value: float | None
    before: float | None
    kind: Kind
    good: Literal["up", "down"] = "up"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown of a period. `frames` are by table; `made_at` is the database's clock, UTC."""

    period: ReportPeriod
    made_at: datetime
    headlines: list[Headline]
    frames: dict[str, pd.DataFrame]
    jobs_over_time: pd.DataFrame


def crm_frames(period: ReportPeriod) -> tuple[list[Headline], dict[str, pd.DataFrame]]:
    """Revenue and pipeline, read in one snapshot: the headline figures, and `revenue`, `revenue_by_tier`, `deals`,
    `pipeline_by_stage`, `pipeline_by_tier`, `pipeline_by_age`."""
    before = period.before()
    days = {"first": period.first, "last": period.last, "before": before.first, "step": period.step}
    with reading(timeout=TIMEOUT_SECONDS) as connection:
        closed = frame_of(connection.execute(statement("report_closed"), days))
        deals = frame_of(connection.execute(statement("report_deals"), {**days, "most": MOST_DEALS}))
        pipeline = frame_of(connection.execute(statement("report_pipeline"), {"ages": list(AGES)}))
        counts = [_counts(connection, each) for each in (period, before)]
    deals["day"] = pd.to_datetime(deals["day"]).dt.date
    return _sales_headlines(closed, *counts), {
        "revenue": _revenue(closed, period),
        "revenue_by_tier": _revenue_by_tier(closed),
        "deals": deals,
        "pipeline_by_stage": _pipeline(pipeline, "stage", [str(status) for status in OPEN_STATUSES]),
        "pipeline_by_tier": _pipeline(pipeline, "tier", _tiers(pipeline)),
        "pipeline_by_age": _pipeline_by_age(pipeline),
    }


def job_frames(period: ReportPeriod) -> tuple[list[Headline], dict[str, pd.DataFrame], pd.DataFrame]:
    """Job performance: the headline figures, the frames `jobs` (by type, from the roll-up) and `failures` (the most
    frequent errors), and the jobs that ended over time."""
    times = period.times()
    by_type = metrics.by_type(times)
    failure_rate = by_type.pop("failure_rate")
    by_type.insert(5, "success_rate", 1 - failure_rate)
    columns = ["job_type", "completed", "failed", "retried", "success_rate"]
    columns += ["run_p50", "run_p95", "wait_p50", "wait_p95"]
    with reading(timeout=TIMEOUT_SECONDS) as connection:
        asked = {"since": times.start, "until": times.end, "most": MOST_FAILURES}
        failures = frame_of(connection.execute(statement("report_failures"), asked))
    now, before = metrics.totals(times), metrics.totals(times.before())
    headlines = [
        Headline("Jobs completed", now.completed, before.completed, "count"),
        Headline("Jobs failed for good", now.failed, before.failed, "count", "down"),
        Headline("Job success rate", now.success_rate, before.success_rate, "percent"),
        Headline("Run time, 95th percentile", now.run_p95, before.run_p95, "seconds", "down"),
    ]
    return headlines, {"jobs": by_type[columns], "failures": failures}, metrics.series(times, buckets=_JOB_STEPS)


def _counts(connection: psycopg.Connection[Any], period: ReportPeriod) -> dict[str, float]:
    times = period.times()
    frame = frame_of(connection.execute(statement("report_counts"), {"since": times.start, "until": times.end}))
    return {str(name): float(value) for name, value in frame.iloc[0].items()}


def _sales_headlines(closed: pd.DataFrame, now: Mapping[str, float], before: Mapping[str, float]) -> list[Headline]:
    def sums(current: bool) -> dict[str, float]:
        part = closed[closed["current"] == current]
        return {name: float(part[name].sum()) for name in ("revenue", "won", "lost")}

    this, earlier = sums(True), sums(False)
    return [
        Headline("Revenue", this["revenue"], earlier["revenue"], "money"),
        Headline("Deals won", this["won"], earlier["won"], "count"),
        Headline("Average deal", _average(this), _average(earlier), "money"),
        Headline("Win rate", _win_rate(this), _win_rate(earlier), "percent"),
        Headline("Open pipeline at the end", now["open_value"], before["open_value"], "money"),
        Headline("Offers made", now["offers"], before["offers"], "count"),
        Headline("Worth of these offers", now["offered_value"], before["offered_value"], "money"),
        Headline("New customers", now["new_customers"], before["new_customers"], "count"),
    ]


def _average(sums: Mapping[str, float]) -> float | None:
    return sums["revenue"] / sums["won"] if sums["won"] else None


def _win_rate(sums: Mapping[str, float]) -> float | None:
    closed = sums["won"] + sums["lost"]
    return sums["won"] / closed if closed else None


def _revenue(closed: pd.DataFrame, period: ReportPeriod) -> pd.DataFrame:
    by_step = closed[closed["current"].astype(bool)].groupby("step")[["won", "lost", "revenue"]].sum()
    frame = by_step.reindex(period.steps(), fill_value=0).rename_axis("from_day").reset_index()
    frame["from_day"] = pd.to_datetime(frame["from_day"]).dt.date
    frame[["won", "lost"]] = frame[["won", "lost"]].astype("int64")
    frame["revenue"] = frame["revenue"].astype(float)
    return frame


def _revenue_by_tier(closed: pd.DataFrame) -> pd.DataFrame:
    now = closed["current"].astype(bool)
    by_tier = closed[now].groupby("tier")[["won", "lost", "revenue"]].sum()
    frame = by_tier.reindex(_tiers(closed), fill_value=0)
    frame["revenue_before"] = closed[~now].groupby("tier")["revenue"].sum()
    frame = frame.rename_axis("tier").reset_index().fillna({"revenue_before": 0.0})
    frame[["won", "lost"]] = frame[["won", "lost"]].astype("int64")
    frame[["revenue", "revenue_before"]] = frame[["revenue", "revenue_before"]].astype(float)
    return frame


def _tiers(frame: pd.DataFrame) -> list[str]:
    """All tiers, and `none` where some have no customer."""
    return [*CUSTOMER_TIERS, *(["none"] if (frame["tier"] == "none").any() else [])]


def _pipeline(pipeline: pd.DataFrame, by: str, members: list[Any]) -> pd.DataFrame:
    sums = pipeline.groupby(by)[["opportunities", "overdue", "value"]].sum()
    frame = sums.reindex(members, fill_value=0).rename_axis(by).reset_index()
    frame[["opportunities", "overdue"]] = frame[["opportunities", "overdue"]].astype("int64")
    frame["value"] = frame["value"].astype(float)
    return frame


def _pipeline_by_age(pipeline: pd.DataFrame) -> pd.DataFrame:
    frame = _pipeline(pipeline, "age_from", list(AGES))
    until = [*(f" to {age - 1} days" for age in AGES[1:]), " days and more"]
    frame.insert(0, "age", [f"{age}{text}" for age, text in zip(AGES, until, strict=True)])
    return frame.drop(columns="age_from")
