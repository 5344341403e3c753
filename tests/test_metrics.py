"""The roll-up as frames: whatever the period, however much of it is merged, nothing is counted twice or lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from support import at_once, claimer, finish, insert, query

from models import merging, metrics
from models.claims import Claim
from models.filters import JobFilter, Period
from models.histogram import bucket_of, quantile
from models.outcomes import Ending

pytestmark = pytest.mark.usefixtures("database")

_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 96 * 60),  # minutes ago
        st.sampled_from(["a", "b"]),
        st.sampled_from([1, 5]),
        st.sampled_from(["w1", "w2"]),
        st.sampled_from(["completed", "failed", "retried"]),
        st.floats(0, 1000),
    ),
    min_size=1,
    max_size=25,
)


def _add(events: list[tuple[int, str, int, str, str, float]], now: datetime | None = None) -> None:
    """Events of the roll-up, each so many minutes before the minute of `now`."""
    for age, job_type, priority, worker, event, ran in events:
        query(
            "INSERT INTO job_metrics AS metric (bucket, resolution, job_type, priority, worker_id, "
            f"{event}, run_seconds, run) VALUES (date_trunc('minute', coalesce(%s, now())) - %s * interval '1 minute',"
            " 1, %s, %s, %s, 1, %s, %s::jsonb) ON CONFLICT (bucket, resolution, job_type, priority, worker_id)"
            f" DO UPDATE SET {event} = metric.{event} + 1, run_seconds = metric.run_seconds + excluded.run_seconds,"
            " run = histogram_add(metric.run, excluded.run)",
            now, age, job_type, priority, worker, ran, f'{{"{bucket_of(ran)}": 1}}',
        )  # fmt: skip


def _only(events: list[tuple[int, str, int, str, str, float]]) -> None:
    """These events, and none of the examples before."""
    query("TRUNCATE job_metrics")
    _add(events)


def _sums(frame: Any) -> tuple[int, int, int]:
    return int(frame["completed"].sum()), int(frame["failed"].sum()), int(frame["retried"].sum())


@settings(max_examples=25, deadline=None)
@given(events=_EVENTS, edges=st.lists(st.integers(1, 97 * 60), min_size=1, max_size=4), merge=st.booleans())
def test_periods_that_follow_each_other_count_each_event_once(
    events: list[tuple[int, str, int, str, str, float]], edges: list[int], merge: bool
) -> None:
    _only(events)
    now = metrics.database_now()
    if merge:
        assert sum(merging.merge_minutes()) >= 0
    # Hours ago, so that no two edges lie in one merged hour.
    moments = sorted({now - timedelta(minutes=edge // 60 * 60) for edge in edges if edge >= 60})
    moments = [now - timedelta(hours=120), *moments, now + timedelta(minutes=1)]
    expected = Counter(event for *_, event, _ in events)

    found: Counter[str] = Counter()
    attempts = 0.0
    for start, end in zip(moments, moments[1:], strict=False):
        totals = metrics.totals(Period(start, end))
        found.update({name: getattr(totals, name) for name in ("completed", "failed", "retried")})
        attempts += totals.completed + totals.failed + totals.retried

    assert +found == expected
    assert attempts == len(events)


@settings(max_examples=25, deadline=None)
@given(events=_EVENTS, buckets=st.sampled_from([5, 24, 60, 200]))
def test_a_chart_by_the_hour_says_the_same_before_and_after_the_merge(
    events: list[tuple[int, str, int, str, str, float]], buckets: int
) -> None:
    _only(events)
    period = Period.last(120, metrics.database_now())
    before = metrics.series(period, buckets=buckets)

    list(merging.merge_minutes())

    after = metrics.series(period, buckets=buckets)
    # Seconds are added up in another order; rounded, two sums that are almost the same may fall apart.
    assert_frame_equal(before, after, rtol=1e-9, atol=1e-9)
    closed = period.start + timedelta(seconds=before.attrs["step_seconds"] * len(before))
    assert sum(_sums(before)) <= len(events)
    assert before["bucket"].max() <= closed


def test_a_chart_while_its_minutes_are_being_merged_never_loses_or_doubles() -> None:
    _add([(60 * 50 + minute, "a", 5, "w1", "completed", 0.1) for minute in range(120)])
    period = Period.last(24 * 5, metrics.database_now())

    def work(number: int) -> set[int]:
        if number == 0:
            list(merging.merge_minutes())
            return {120}
        return {metrics.totals(period).completed for _ in range(30)}

    assert set.union(*at_once(3, work)) == {120}


def test_quantiles_are_those_of_all_workers_types_and_priorities_together() -> None:
    runs = [0.01] * 90 + [1.0] * 9 + [50.0]
    _add([(5 + n % 7, "ab"[n % 2], 5, f"w{n % 2 + 1}", "completed", ran) for n, ran in enumerate(runs)])
    period = Period.last(1, metrics.database_now())

    totals = metrics.totals(period)

    assert totals.run_p50 == quantile({bucket_of(0.01): 1}, 0.5)
    assert totals.run_p95 == quantile({bucket_of(1.0): 1}, 0.5)
    assert totals.run_mean == pytest.approx(sum(runs) / 100)
    assert (totals.success_rate, totals.completed) == (1.0, 100)
    assert list(metrics.by_type(period)["job_type"]) == ["a", "b"]
    assert metrics.totals(period, JobFilter(job_types=("a",))).completed == 50
    assert metrics.expected_duration("a") == (totals.run_p50, metrics.by_type(period)["run_p95"][0])
    assert metrics.expected_duration("there is none") is None


def test_a_chart_has_every_closed_step_and_not_the_one_that_still_runs() -> None:
    now = metrics.database_now()
    _add([(0, "a", 5, "w1", "completed", 1.0), (1, "a", 5, "w1", "failed", 1.0)], now)

    frame = metrics.series(Period.last(1, now))

    assert len(frame) == 60 and frame.attrs["step_seconds"] == 60
    assert frame["bucket"].iloc[-1] == now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    assert (frame["completed"].sum(), frame["failed"].iloc[-1], frame["failure_rate"].iloc[-1]) == (0, 1, 1.0)
    assert frame["failure_rate"].iloc[:-1].isna().all()
    assert metrics.totals(Period.last(1, now)).completed == 1, "totals count what has just ended"


@settings(max_examples=25, deadline=None)
@given(events=_EVENTS, cut=st.integers(1, 119))
def test_totals_of_periods_beside_each_other_add_up(
    events: list[tuple[int, str, int, str, str, float]], cut: int
) -> None:
    _only(events)
    whole = Period.last(120, metrics.database_now())
    edge = whole.start + timedelta(hours=cut)

    both = metrics.totals(Period(whole.start, edge)) + metrics.totals(Period(edge, whole.end))

    once = metrics.totals(whole)
    assert replace(both, run_seconds=0.0) == replace(once, run_seconds=0.0)
    assert both.run_seconds == pytest.approx(once.run_seconds)
    assert (both.run_p95, both.success_rate) == (once.run_p95, once.success_rate)
    assert metrics.Totals() + once == once


@pytest.mark.parametrize(
    ("hours", "step"), [(1, 60), (3, 300), (6, 600), (24, 1800), (48, 3600), (24 * 7, 10_800), (24 * 30, 43_200)]
)
def test_steps_are_round_numbers(hours: float, step: int) -> None:
    frame = metrics.series(Period.last(hours, metrics.database_now()))

    assert frame.attrs["step_seconds"] == step
    assert len(frame) > 0 and all(bucket.timestamp() % step == 0 for bucket in frame["bucket"])


def test_what_workers_record_is_what_the_frames_say() -> None:
    for priority in (2, 9):
        insert(priority=priority)
    claim = claimer().claim()
    assert isinstance(claim, Claim)
    finish(claim, Ending.FAILED, stages={"fetch": 0.5, "work": 1.5})
    period = Period.last(1, metrics.database_now())

    (row,) = metrics.by_type(period).to_dict("records")
    assert (row["job_type"], row["failed"], row["failure_rate"]) == ("note", 2, 1.0)
    assert (row["stage_fetch"], row["stage_work"]) == (0.5, 1.5)
    assert row["stage_record"] != row["stage_record"], "not measured"
    assert list(metrics.by_priority(period)["priority"]) == [9, 2]


def test_nothing_ended_is_frames_without_rows_and_no_rates() -> None:
    period = Period.last(24, metrics.database_now())

    assert metrics.by_type(period).empty and metrics.by_priority(period).empty
    assert metrics.throughput_by_type(period).empty
    assert metrics.totals(period).success_rate is None
    assert _sums(metrics.series(period)) == (0, 0, 0)


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)])
def test_a_period_needs_zones_and_an_end_after_its_start(moment: datetime) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        Period(moment, moment)
