"""The roll-up as frames, for charts: bounded in time, read from `job_metrics`, never from the hot table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg

from models.filters import JobFilter, Period
from models.histogram import quantile
from models.reading import reading
from models.sql import statement
from models.steps import clock, closed_steps, every_step, told_apart

#: What a duration is expected to be is taken from the last day, or for a type that did not run then the last week.
EXPECTED_FROM_DAYS = (1, 7)
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_STAGES = ("fetch", "work", "record")
_COUNTS = ["completed", "failed", "retried", "cancelled", "lost"]
_NO_FILTER = JobFilter()

_Key = tuple[Any, ...]
_Histograms = dict[tuple[_Key, str], dict[int, int]]


@dataclass(frozen=True, slots=True)
class Totals:
    """A period in numbers; those of periods that do not overlap add up.

    `run` and `wait` are histograms of seconds (`models.histogram`), `run_seconds` is the sum of all attempts. What is
    derived from them is None where nothing ended; durations are in seconds.
    """

    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    lost: int = 0
    run_seconds: float = 0.0
    run: Mapping[int, int] = field(default_factory=dict)
    wait: Mapping[int, int] = field(default_factory=dict)

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            **{name: getattr(self, name) + getattr(other, name) for name in (*_COUNTS, "run_seconds")},
            run=Counter(self.run) + Counter(other.run),
            wait=Counter(self.wait) + Counter(other.wait),
        )

    @property
    def success_rate(self) -> float | None:
        """completed / (completed + failed)."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None

    @property
    def run_mean(self) -> float | None:
        attempts = sum(self.run.values())
        return self.run_seconds / attempts if attempts else None

    @property
    def run_p50(self) -> float | None:
        return quantile(self.run, 0.5)

    @property
    def run_p95(self) -> float | None:
        return quantile(self.run, 0.95)

    @property
    def wait_p95(self) -> float | None:
        return quantile(self.wait, 0.95)


def database_now() -> datetime:
    """The database's clock, UTC."""
    with reading() as connection:
        return clock(connection)


def series(period: Period, filter: JobFilter = _NO_FILTER, buckets: int = 60) -> pd.DataFrame:
    """What ended in each step of a period, about `buckets` of them at most, oldest first; quiet steps are included.

    Only closed steps: the last one ends before now. A step is a round number of minutes or hours (`models.steps`),
    whole hours where the period is older than two days; `frame.attrs["step_seconds"]` says which.

    Columns: `bucket` (its beginning, UTC), `completed`, `failed`, `retried`, `cancelled`, `lost`, `failure_rate`
    (failed / (completed + failed), NaN where nothing ended), and in seconds `run_p50`, `run_p95`, `run_p99`,
    `wait_p50`, `wait_p95`, `run_mean` (NaN without attempts). `filter`: its job types and priorities count.
    """
    with reading() as connection:
        asked, step = closed_steps(period, buckets, clock(connection))
        if asked is None:
            return _series_frame([], {}, [], step)
        counts = _counts(connection, asked, filter, step=step, by=("step",))
        histograms = _histograms(connection, asked, filter, step=step, by=("step",))
    return _series_frame(every_step(asked, step), histograms, counts, step)


def throughput_by_type(period: Period, filter: JobFilter = _NO_FILTER, buckets: int = 60) -> pd.DataFrame:
    """What completed in each closed step, by job type. Columns: `bucket`, `job_type`, `completed`.

    Every type that completed anything has a row for each step.
    """
    with reading() as connection:
        asked, step = closed_steps(period, buckets, clock(connection))
        rows = [] if asked is None else _counts(connection, asked, filter, step=step, by=("step", "job_type"))
    done = {(row["step"], row["job_type"]): row["completed"] for row in rows if row["completed"]}
    types = sorted({job_type for _, job_type in done})
    steps = [] if asked is None else every_step(asked, step)
    table = [(begin, job_type, done.get((begin, job_type), 0)) for begin in steps for job_type in types]
    frame = pd.DataFrame(table, columns=["bucket", "job_type", "completed"])
    return _typed(frame, step, counts=["completed"])


def by_type(period: Period, filter: JobFilter = _NO_FILTER) -> pd.DataFrame:
    """A period by job type, by name.

    Columns: `job_type`, `completed`, `failed`, `retried`, `lost`, `failure_rate`, and in seconds `run_mean`, `run_p50`,
    `run_p95`, `run_p99`, `wait_p50`, `wait_p95`, `wait_p99`, and the means of the stages of an attempt, `stage_fetch`,
    `stage_work` and `stage_record` (NaN where they were not measured).
    """
    columns = ["job_type", "completed", "failed", "retried", "lost", "failure_rate", "run_mean"]
    columns += [f"{name}_{share}" for name in ("run", "wait") for share in _QUANTILES]
    frame, stages = _by(period, filter, "job_type")
    for name in _STAGES:
        frame[f"stage_{name}"] = pd.Series([stages.get((each, name)) for each in frame["job_type"]], dtype=float)
    return frame[columns + [f"stage_{name}" for name in _STAGES]]


def by_priority(period: Period, filter: JobFilter = _NO_FILTER) -> pd.DataFrame:
    """A period by priority, the most urgent first.

    Columns: `priority`, `completed`, `failed`, and in seconds `wait_p50`, `wait_p95`, `wait_p99`.
    """
    frame = _by(period, filter, "priority")[0].sort_values("priority", ascending=False, ignore_index=True)
    return frame[["priority", "completed", "failed", "wait_p50", "wait_p95", "wait_p99"]]


def totals(period: Period, filter: JobFilter = _NO_FILTER) -> Totals:
    """A period in numbers; asked again with `period.before()` it is what they are compared with."""
    with reading() as connection:
        asked = told_apart(period, clock(connection))
        counts = _counts(connection, asked, filter)
        histograms = _histograms(connection, asked, filter)
    if not counts:
        return Totals()
    run, wait = (histograms.get(((), name), {}) for name in ("run", "wait"))
    return Totals(
        **{name: int(counts[0][name]) for name in _COUNTS}, run_seconds=counts[0]["run_seconds"], run=run, wait=wait
    )


def expected_duration(job_type: str) -> tuple[float, float] | None:
    """How long a job of the type runs: (p50, p95) in seconds by the last day or else week, None when none ran."""
    return expected_durations([job_type]).get(job_type)


def expected_durations(job_types: Sequence[str]) -> dict[str, tuple[float, float]]:
    """`expected_duration` of several types at once; those that never ran are left out."""
    runs: dict[str, dict[int, int]] = {}
    with reading() as connection:
        now = clock(connection)
        for days in EXPECTED_FROM_DAYS:
            wanted = JobFilter(job_types=tuple(name for name in job_types if name not in runs))
            if not wanted.job_types:
                break
            asked = told_apart(Period(now - timedelta(days=days), now), now)
            found = _histograms(connection, asked, wanted, by=("job_type",), names=("run",))
            runs |= {key[0]: counts for (key, _), counts in found.items()}
    return {name: (quantile(run, 0.5) or 0.0, quantile(run, 0.95) or 0.0) for name, run in runs.items()}


def _parameters(period: Period, filter: JobFilter, step: int, by: Sequence[str]) -> dict[str, Any]:
    wanted = filter.parameters()
    return {
        "since": period.start, "until": period.end, "step": step,
        "job_types": wanted["job_types"], "priorities": wanted["priorities"],
        "by_step": "step" in by, "by_type": "job_type" in by, "by_priority": "priority" in by,
    }  # fmt: skip


def _counts(
    connection: psycopg.Connection[Any], period: Period, filter: JobFilter, *, step: int = 1, by: Sequence[str] = ()
) -> list[dict[str, Any]]:
    cursor = connection.execute(statement("metric_counts"), _parameters(period, filter, step, by))
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        if row["step"] is not None:
            row["step"] = row["step"].astimezone(UTC)
    return rows


def _histograms(
    connection: psycopg.Connection[Any],
    period: Period,
    filter: JobFilter,
    *,
    step: int = 1,
    by: Sequence[str] = (),
    names: Sequence[str] = ("run", "wait"),
) -> _Histograms:
    """{(key, "run" or "wait"): histogram}; the key is what is grouped by, () for nothing."""
    found: _Histograms = defaultdict(dict)
    for part in _parts(period, clock(connection)):
        asked = _parameters(part, filter, step, by)
        for name in names:
            for begin, job_type, priority, bucket, jobs in connection.execute(
                statement("metric_histograms"), {**asked, "name": name}
            ):
                parts = {"step": begin and begin.astimezone(UTC), "job_type": job_type, "priority": priority}
                counts = found[tuple(parts[each] for each in by), name]
                counts[bucket] = counts.get(bucket, 0) + jobs
    return found


def _parts(period: Period, now: datetime) -> list[Period]:
    """The period in pieces whose histograms are added up in one statement each: a day of minutes, a month of hours."""
    cuts = {now - timedelta(days=1), now - timedelta(days=2)}
    cuts |= {now - timedelta(days=days) for days in range(32, 400, 30)}
    margin = timedelta(hours=1)  # not worth a statement
    inside = sorted(cut for cut in cuts if period.start + margin < cut < period.end - margin)
    edges = [period.start, *inside, period.end]
    return [Period(start, end) for start, end in zip(edges, edges[1:], strict=False)]


def _series_frame(
    steps: Sequence[datetime], histograms: _Histograms, counts: Iterable[dict[str, Any]], step: int
) -> pd.DataFrame:
    by_step = {row["step"]: row for row in counts}
    nothing = dict.fromkeys([*_COUNTS, "run_seconds"], 0)
    frame = pd.DataFrame(
        [[begin, *(by_step.get(begin, nothing)[name] for name in (*_COUNTS, "run_seconds"))] for begin in steps],
        columns=["bucket", *_COUNTS, "run_seconds"],
    )
    frame = _typed(frame, step, counts=_COUNTS)
    _add_rates(frame, histograms, [(begin,) for begin in steps])
    columns = ["bucket", *_COUNTS, "failure_rate", "run_p50", "run_p95", "run_p99", "wait_p50", "wait_p95", "run_mean"]
    return frame[columns]


def _by(period: Period, filter: JobFilter, column: str) -> tuple[pd.DataFrame, dict[tuple[str, str], float]]:
    """A period by job type or priority; and, by type and stage, the mean seconds."""
    with reading() as connection:
        asked = told_apart(period, clock(connection))
        rows = _counts(connection, asked, filter, by=(column,))
        histograms = _histograms(connection, asked, filter, by=(column,))
        stages: dict[tuple[str, str], float] = {}
        if column == "job_type":
            for job_type, *seconds, attempts in connection.execute(
                statement("metric_stages"), _parameters(asked, filter, 1, ())
            ):
                for name, spent in zip(_STAGES, seconds, strict=True):
                    if spent is not None and attempts:
                        stages[job_type, name] = spent / attempts
    names = [column, *_COUNTS, "run_seconds"]
    frame = pd.DataFrame([[row[name] for name in names] for row in rows], columns=names)
    frame[_COUNTS] = frame[_COUNTS].astype("int64")
    _add_rates(frame, histograms, [(row[column],) for row in rows])
    return frame, stages


def _add_rates(frame: pd.DataFrame, histograms: _Histograms, keys: Sequence[_Key]) -> None:
    ended = frame["completed"] + frame["failed"]
    frame["failure_rate"] = (frame["failed"] / ended.where(ended > 0)).astype(float)
    attempts = pd.Series([sum(histograms.get((key, "run"), {}).values()) for key in keys], dtype=float)
    frame["run_mean"] = (frame["run_seconds"].astype(float) / attempts.where(attempts > 0)).astype(float)
    for name in ("run", "wait"):
        for label, share in _QUANTILES.items():
            found = [quantile(histograms.get((key, name), {}), share) for key in keys]
            frame[f"{name}_{label}"] = pd.Series(found, dtype=float)


def _typed(frame: pd.DataFrame, step: int, *, counts: list[str]) -> pd.DataFrame:
    frame["bucket"] = pd.to_datetime(frame["bucket"], utc=True)
    frame[counts] = frame[counts].astype("int64")
    frame.attrs["step_seconds"] = step * 60
    return frame
