"""The overview: a verdict in one sentence, then the evidence."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import data, figures
from dashboard.components import viewer
from dashboard.components.charts import chart
from dashboard.text import count, duration, share, visible
from dashboard.verdict import Facts, Finding, draining, verdict
from models.backlog_samples import Moment, can_tell
from models.filters import JobFilter
from models.metrics import Totals

_LOOKS = {
    "good": ":green[:material/check_circle:]",
    "notice": ":blue[:material/info:]",
    "warning": ":orange[:material/warning:]",
    "bad": ":red[:material/error:]",
}
#: Findings that are read; who has more begins at the top anyway.
MOST_FINDINGS = 6
#: A rate of fewer events says so.
FEW = 20


def headline(facts: Facts) -> None:
    """The verdict."""
    findings = verdict(facts)
    with st.container(border=True, key="verdict"):
        _finding(findings[0], first=True)
        if findings[0].level == "good":
            workers = f"{count(facts.workers)} {'worker' if facts.workers == 1 else 'workers'}"
            st.caption(
                f"{workers}, nothing late, no unusual failures."
                if facts.workers
                else "Nothing late, no unusual failures. No worker runs; to start one: `jobs worker`."
            )
        for finding in findings[1:MOST_FINDINGS]:
            _finding(finding)
        if len(findings) > MOST_FINDINGS:
            st.caption(f"and {len(findings) - MOST_FINDINGS} more")


def _finding(finding: Finding, *, first: bool = False) -> None:
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        sentence = (
            finding.sentence if finding.sentence[0] == "`" else finding.sentence[0].upper() + finding.sentence[1:]
        )
        st.markdown(f"{'#### ' if first else ''}{_LOOKS[finding.level]} {sentence}", width="stretch")
        if finding.page:
            st.page_link(
                f"app_pages/{finding.page}.py", label="Look", icon=":material/arrow_forward:", width="content",
                query_params=finding.place,
            )  # fmt: skip


def numbers(found: data.Numbers, filter: JobFilter) -> None:
    """The overview in numbers, each against the period before where it has one."""
    now, before, stats = found.period, found.before, found.stats
    with st.grid(4, min_column_width=150, gap="small"):
        _live(found, filter)
        _share(now, before)
        _count("Completed", now.completed, before.completed)
        _count("Failed", now.failed, before.failed, inverse=True)
        _seconds("Average time", now.run_mean, before.run_mean)
        _seconds("p95 time", now.run_p95, before.run_p95)
    st.caption(
        f"Since the beginning: {count(stats.completed)} completed, {count(stats.failed)} failed,"
        f" {count(stats.cancelled)} cancelled. Arrows compare with the same span before; what waits and runs, with the"
        " same moment one span ago."
    )


def _live(found: data.Numbers, filter: JobFilter) -> None:
    """What waits and runs now, against what was sampled one period ago."""
    live, then, source = found.live, found.then, _sampled(found.then, filter)
    waited, then_capped = (None, False) if then is None else (round(then.due + then.scheduled), then.capped)
    due, later = (count(each, capped=live.parts_capped) for each in (live.due, live.scheduled))
    parts = [f"{due} due, {later} for later, back-offs included.", source]
    _metric(
        "Waiting now",
        f"{'about ' if live.estimated else ''}{count(live.waiting, capped=live.capped)}",
        # Of what is only known to be at least so much, nobody knows how much more or less it is.
        None if live.capped or then_capped else live.waiting,
        waited,
        f"before {count(waited, capped=then_capped)}",
        inverse=True,
        help="  \n".join(parts if filter != JobFilter() else [*parts, _drain_words(found)]),
    )
    running = None if then is None else round(then.running)
    _metric("Running now", count(live.running), live.running, running, f"before {count(running)}", help=source)
    oldest, was_oldest = live.oldest_seconds, None if then is None else then.oldest_seconds
    _metric(
        "Oldest waiting",
        "none" if oldest is None else duration(oldest),
        oldest or 0.0,
        was_oldest,
        f"before {duration(was_oldest) if was_oldest else 'none'}",
        inverse=True,
        help=f"How long the job that has waited longest has been due.  \n{source}",
    )


def _sampled(then: Moment | None, filter: JobFilter) -> str:
    """What the figures of now are compared with, or why with nothing."""
    if then is not None:
        return (
            "Before: at the same moment one period ago, the mean of five minutes; more than two days ago, of an hour."
        )
    if not can_tell(filter):
        return "Not compared: the samples of the backlog are by job type, not by priority."
    return "Not compared: workers sample the backlog once a minute, and none did at this moment one period ago."


def _drain_words(found: data.Numbers) -> str:
    estimate = found.drain
    if estimate.low_seconds is None:
        return f"Not draining: {estimate.note}."
    if not found.live.waiting or not estimate.high_seconds:
        return f"{estimate.note[0].upper()}{estimate.note[1:]}."
    words = draining(estimate.low_seconds, estimate.high_seconds)
    return f"{words[0].upper()}{words[1:]}."


def _share(now: Totals, before: Totals) -> None:
    ended = now.completed + now.failed
    delta = None
    if now.success_rate is not None and before.success_rate is not None:
        points = round((now.success_rate - before.success_rate) * 100, 1)
        delta = f"{points:+.1f} points" if points else 0
    st.metric(
        "Success rate",
        share(now.success_rate),
        delta,
        delta_description=f"of {count(ended)}{', few' if 0 < ended < FEW else ''}" if ended else None,
        border=True,
        height="stretch",
        help="completed / (completed + failed for good)",
    )


def _count(label: str, now: int, before: int, *, inverse: bool = False) -> None:
    _metric(label, count(now), now, before, f"before {count(before)}", inverse=inverse)


def _seconds(label: str, now: float | None, before: float | None) -> None:
    _metric(label, duration(now), now, before, f"before {duration(before)}", inverse=True)


def _metric(
    label: str,
    value: str,
    now: float | None,
    before: float | None,
    description: str,
    *,
    inverse: bool | None = None,
    help: str | None = None,
) -> None:
    """`inverse`: more is worse; None: neither better nor worse."""
    delta = change(now, before)
    st.metric(
        label,
        value,
        delta,
        delta_color="off" if inverse is None else "inverse" if inverse else "normal",
        delta_description=description if before is not None else None,
        border=True,
        height="stretch",
        help=help,
    )


def change(now: float | None, before: float | None) -> str | int | None:
    """How much more or less than before, in per cent; 0 for the same, None where one of them is missing or zero."""
    if now is None or before is None or now != now or not before:
        return None
    ratio = now / before - 1
    if abs(ratio) < 0.005:
        return 0
    return f"{ratio:+.0%}" if ratio < 9.995 else f"+{now / before:,.0f} times"


def charts(found: data.Charts) -> None:
    """Better or worse: jobs, processing time, failure rate, who does how much, and the backlog."""
    zone = viewer.zone()
    frame = found.series
    if not _any_ended(frame):
        st.info(_nothing_to_draw(found), icon=":material/info:")
        _backlog(found.backlog)
        _types(found.by_type)
        return
    step, note = figures.step_name(frame.attrs["step_seconds"]), figures.zone_label(zone, frame["bucket"])
    left, right = st.columns(2)
    with left:
        chart(f"Jobs per {step}", figures.jobs_by_outcome(frame, zone), key="outcomes", note=note)
        chart("Failure rate", figures.failure_rate(frame, zone), key="failure_rate", note=note)
    with right:
        chart("Processing time", figures.run_times(frame, zone), key="run_times", note=note)
        chart("Throughput by type", figures.throughput(found.throughput, zone), key="throughput", note=note)
    _backlog(found.backlog)
    _types(found.by_type)


def _any_ended(frame: pd.DataFrame) -> bool:
    return bool(frame[["completed", "failed", "retried"]].to_numpy().sum())


def _nothing_to_draw(found: data.Charts) -> str:
    """Why there are no charts, and what to do: they are of steps that are over."""
    if not found.anything:
        return "Nothing has ended in this period: choose a longer one, or add a job on the Queue page."
    step = figures.step_name(found.series.attrs["step_seconds"])
    told = f"What ended in this period did so within the last {step}. Charts show each {step} when it is over"
    return f"{told}." if step == "minute" else f"{told}; those of a shorter period have shorter steps."


def _backlog(frame: pd.DataFrame | None) -> None:
    """What waited and ran, and for how long already."""
    if frame is None:
        st.caption("The backlog over time is by job type, not by priority: choose no priority to see it.")
        return
    if not frame["due"].notna().any():
        st.caption("The backlog over time: workers sample it once a minute, and none did in this period.")
        return
    zone = viewer.zone()
    note = figures.zone_label(zone, frame["bucket"])
    if frame["due"].isna().any():
        note += "; gaps: not sampled"
    left, right = st.columns(2)
    with left:
        chart("Backlog", figures.backlog(frame, zone), key="backlog", note=note)
    with right:
        chart("Oldest waiting", figures.oldest_waiting(frame, zone), key="oldest", note=note)


def _types(frame: pd.DataFrame) -> None:
    if not _any_ended(frame):
        return
    st.subheader("By job type", anchor=False)
    table = pd.DataFrame(
        {
            "type": [visible(name) for name in frame["job_type"]],
            "completed": frame["completed"],
            "failed": frame["failed"],
            "rate": [share(rate) for rate in frame["failure_rate"]],
            "retried": frame["retried"],
            "lost": frame["lost"],
            "mean": [duration(each) for each in frame["run_mean"]],
            "p95": [duration(each) for each in frame["run_p95"]],
            "p99": [duration(each) for each in frame["run_p99"]],
            "wait": [duration(each) for each in frame["wait_p95"]],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        alt="What ended in the period, by job type",
        column_config={
            "type": st.column_config.TextColumn("Job type", pinned=True, width=170),
            "completed": st.column_config.NumberColumn("Completed", format="localized"),
            "failed": st.column_config.NumberColumn("Failed", format="localized"),
            "rate": st.column_config.TextColumn(
                "Failure rate", help="failed / (completed + failed)", alignment="right"
            ),
            "retried": st.column_config.NumberColumn("Attempts retried", format="localized"),
            "lost": st.column_config.NumberColumn(
                "Lost", format="localized", help="Their worker died; they run again."
            ),
            "mean": st.column_config.TextColumn("Average", alignment="right", help="Processing time"),
            "p95": st.column_config.TextColumn("p95", alignment="right", help="Processing time"),
            "p99": st.column_config.TextColumn("p99", alignment="right", help="Processing time"),
            "wait": st.column_config.TextColumn("Wait p95", alignment="right", help="From due to begun"),
        },
    )
