"""The figures: what they show, in which zone, and that they stay the same while nothing changes."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from dashboard import figures
from dashboard.figures import Figure

ZURICH, UTC = ZoneInfo("Europe/Zurich"), ZoneInfo("UTC")


def series(*rows: tuple[int, int], step: int = 3600) -> pd.DataFrame:
    """Steps of (completed, failed) from 20:00 UTC on, with times that grow."""
    begin = pd.Timestamp("2026-11-23T20:00:00Z")
    frame = pd.DataFrame(
        {
            "bucket": [begin + pd.Timedelta(seconds=step * place) for place in range(len(rows))],
            "completed": [completed for completed, _ in rows],
            "failed": [failed for _, failed in rows],
        }
    )
    ended = frame["completed"] + frame["failed"]
    frame["failure_rate"] = (frame["failed"] / ended.where(ended > 0)).astype(float)
    for place, name in enumerate(("run_p50", "run_p95", "run_p99", "wait_p50", "wait_p95")):
        frame[name] = [0.5 * (place + 1) if each else float("nan") for each in ended]
    frame["bucket"] = pd.to_datetime(frame["bucket"], utc=True)
    frame.attrs["step_seconds"] = step
    return frame


def waiting(*rows: tuple[float, float, float] | None, step: int = 3600) -> pd.DataFrame:
    """Steps of (due, running, the oldest's seconds) from 20:00 UTC on; None: not sampled."""
    frame = series(*[(0, 0)] * len(rows), step=step)[["bucket"]].copy()
    for place, name in enumerate(("due", "running", "oldest_most")):
        frame[name] = [float("nan") if row is None else float(row[place]) for row in rows]
    frame["capped"] = [row is not None and row[0] >= 10_000 for row in rows]
    frame.attrs["step_seconds"] = step
    return frame


def drawn(figure: Figure) -> list[Any]:
    """The traces that are seen."""
    return [trace for trace in figure.figure.data if trace.name]


def test_jobs_are_stacked_by_outcome_in_the_viewers_zone() -> None:
    figure = figures.jobs_by_outcome(series((10, 1), (20, 2)), ZURICH)
    completed, failed = drawn(figure)
    assert list(completed.x) == ["2026-11-23T21:00:00", "2026-11-23T22:00:00"]
    assert (list(completed.y), list(failed.y)) == ([10, 20], [1, 2])
    assert figure.figure.data[0].customdata[0] == "20:00 UTC", "the hover says UTC too"
    assert figure.alt == (
        "Jobs that ended, per hour: 30 completed and 3 failed; the most, 20, at 23 Nov 22:00."
    )


@pytest.mark.parametrize("make", [figures.jobs_by_outcome, figures.run_times, figures.failure_rate])
def test_every_point_in_time_says_utc_on_hover(make: Any) -> None:
    figure = make(series((10, 1), (20, 2)), ZURICH).figure
    assert list(figure.data[0].customdata) == ["20:00 UTC", "21:00 UTC"]
    assert figure.layout.hovermode == "x unified", "one hover for all that is drawn at that time"


def test_the_zone_is_named_with_its_distance() -> None:
    winter = series((1, 0))["bucket"]
    assert figures.zone_label(ZURICH, winter) == "Europe/Zurich, UTC+1"
    assert figures.zone_label(ZURICH, winter - pd.Timedelta(days=150)) == "Europe/Zurich, UTC+2"
    assert figures.zone_label(ZoneInfo("Asia/Kolkata"), winter) == "Asia/Kolkata, UTC+5.5"
    assert figures.zone_label(UTC, winter) == "UTC"


@pytest.mark.parametrize("zone", [ZURICH, UTC])
def test_the_same_frame_gives_the_same_figure_to_the_byte(zone: ZoneInfo) -> None:
    for make in (figures.jobs_by_outcome, figures.run_times, figures.failure_rate):
        frame = series((10, 1), (0, 0), (20, 2))
        assert make(frame, zone).figure.to_json() == make(frame.copy(), zone).figure.to_json()
    for make in (figures.backlog, figures.oldest_waiting):
        frame = waiting((10, 1, 5), None, (20, 2, 70))
        assert make(frame, zone).figure.to_json() == make(frame.copy(), zone).figure.to_json()


def test_a_step_without_jobs_is_a_gap_and_no_zero() -> None:
    frame = series((10, 1), (0, 0), (20, 2))
    (rate,) = drawn(figures.failure_rate(frame, UTC))
    assert pd.isna(rate.y[1])
    p50, p95, p99 = drawn(figures.run_times(frame, UTC))
    assert [trace.name for trace in (p50, p95, p99)] == ["p50", "p95", "p99"]
    assert pd.isna(p50.y[1]) and list(p99.y)[0] == 1.5


def test_the_backlog_has_gaps_where_nobody_sampled_and_zeros_where_nothing_waited() -> None:
    figure = figures.backlog(waiting((12_000, 3, 60), None, (0, 0, 0), (1.25, 2, 30)), ZURICH)
    due, running = drawn(figure)
    assert [trace.name for trace in (due, running)] == ["due", "running"]
    assert list(due.x)[0] == "2026-11-23T21:00:00"
    assert pd.isna(due.y[1]) and pd.isna(running.y[1]) and not due.connectgaps
    assert (due.y[0], due.y[2], running.y[2]) == (12_000, 0, 0)
    assert list(due.customdata) == ["12,000+", "–", "0", "1.2"]
    assert figure.alt == (
        "The backlog, mean of each hour: at the end 1.2 due and 2 running; the most due, 12,000+, at 23 Nov 21:00;"
        " no worker sampled 1 of the 4 steps."
    )


def test_the_oldest_is_the_worst_of_each_step_in_words() -> None:
    figure = figures.oldest_waiting(waiting((5, 1, 90), None, (0, 0, 0), (1, 0, 7200)), UTC)
    (oldest,) = drawn(figure)
    assert pd.isna(oldest.y[1]) and not oldest.connectgaps
    assert list(oldest.customdata) == ["1 min 30 s", "–", "nothing due", "2 h"]
    assert "1 h" in list(figure.figure.layout.yaxis.ticktext)
    assert "at the end 2 h; the longest, 2 h, at 23 Nov 23:00; no worker sampled 1 of the 4 steps." in figure.alt
    quiet = figures.oldest_waiting(waiting((0, 0, 0), (0, 1, 0)), UTC)
    assert quiet.alt == "The oldest waiting job: nothing was due when it was sampled."


def test_a_rate_says_of_how_many() -> None:
    figure = figures.failure_rate(series((9, 1), (90, 10)), UTC)
    assert drawn(figure)[0].customdata[0] == "10.0% failed, 1 of 10"
    assert figure.alt == "Share of jobs that failed: 10.0% of 110 in all, at worst 10.0% in one hour."


def test_many_types_are_the_largest_and_the_others() -> None:
    bucket = series((1, 0))["bucket"].iloc[0]
    frame = pd.DataFrame(
        [(bucket, f"type_{place:02}", 100 - place) for place in range(20)], columns=["bucket", "job_type", "completed"]
    )
    frame.attrs["step_seconds"] = 60
    figure = figures.throughput(frame, UTC)
    assert [trace.name for trace in drawn(figure)] == ["type_00", "type_01", "type_02", "type_03", "others"]
    assert sum(sum(trace.y) for trace in drawn(figure)) == frame["completed"].sum()
    assert figure.alt.endswith("The most: type_00 100, type_01 99, type_02 98.")


def test_a_type_cannot_write_html_into_a_legend() -> None:
    bucket = series((1, 0))["bucket"].iloc[0]
    frame = pd.DataFrame([(bucket, "<b>big</b>", 1)], columns=["bucket", "job_type", "completed"])
    frame.attrs["step_seconds"] = 60
    assert "<" not in drawn(figures.throughput(frame, UTC))[0].name


def test_a_chart_of_nothing_says_so() -> None:
    empty = series()
    assert "nothing ran" in figures.run_times(empty, UTC).alt
    assert "nothing ended" in figures.failure_rate(empty, UTC).alt
    assert "0 completed" in figures.jobs_by_outcome(empty, UTC).alt
    assert "not sampled" in figures.backlog(waiting(None, None), UTC).alt
    assert "not sampled" in figures.oldest_waiting(waiting(), UTC).alt
    types = pd.DataFrame({"bucket": empty["bucket"], "job_type": [], "completed": []})
    types.attrs["step_seconds"] = 60
    assert "nothing completed" in figures.throughput(types, UTC).alt


def test_ages_and_waits_are_read_without_a_legend_of_seconds() -> None:
    ages = figures.ages(pd.DataFrame({"age": ["under 10 s", "1 to 5 min"], "jobs": [5, 0]}))
    assert ages.alt == "Due jobs by how long they have waited: under 10 s: 5."
    waits = figures.waits_by_priority(
        pd.DataFrame({"priority": [3, 8], "wait_p50": [9.0, 0.2], "wait_p95": [30.0, 1.0]})
    )
    assert list(drawn(waits)[0].x) == ["8", "3"], "the most urgent first"
    assert "10 s" in list(waits.figure.layout.yaxis.ticktext)


def test_nothing_is_drawn_by_webgl() -> None:
    frame = series(*[(1, 0)] * 2000, step=60)
    for make in (figures.jobs_by_outcome, figures.run_times, figures.failure_rate):
        assert {trace.type for trace in make(frame, UTC).figure.data} <= {"bar", "scatter"}
    for make in (figures.backlog, figures.oldest_waiting):
        frame = waiting(*[(1, 1, 1)] * 2000, step=60)
        assert {trace.type for trace in make(frame, UTC).figure.data} == {"scatter"}
