"""The overview: a verdict in one sentence, then the evidence."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import data, figures
from dashboard.components import viewer
from dashboard.components.charts import chart
from dashboard.text import count, duration, share, visible
from dashboard.verdict import Facts, Finding, draining, verdict
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
            st.caption(f"{workers if facts.workers else 'No worker'}, nothing late, no unusual failures.")
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


def numbers(found: data.Numbers) -> None:
    """The overview in numbers, each against the period before where it has one."""
    now, before, stats = found.period, found.before, found.stats
    with st.grid(4, min_column_width=150, gap="small"):
        waiting = f"{'about ' if stats.estimated else ''}{count(stats.queue_length)}"
        st.metric("Waiting now", waiting, border=True, height="stretch", help=_drain_words(found))
        st.metric("Running now", count(stats.processing), border=True, height="stretch")
        oldest = found.oldest_seconds
        st.metric(
            "Oldest waiting", "none" if oldest is None else duration(oldest), border=True, height="stretch",
            help="How long the job that has waited longest has been due.",
        )  # fmt: skip
        _share(now, before)
        _count("Completed", now.completed, before.completed)
        _count("Failed", now.failed, before.failed, inverse=True)
        _seconds("Average time", now.run_mean, before.run_mean)
        _seconds("p95 time", now.run_p95, before.run_p95)
    st.caption(
        f"Since the beginning: {count(stats.completed)} completed, {count(stats.failed)} failed,"
        f" {count(stats.cancelled)} cancelled. Arrows compare with the same span before."
    )


def _drain_words(found: data.Numbers) -> str:
    estimate = found.drain
    if estimate.low_seconds is None:
        return f"Not draining: {estimate.note}."
    if not found.stats.queue_length or not estimate.high_seconds:
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
    label: str, value: str, now: float | None, before: float | None, description: str, *, inverse: bool
) -> None:
    delta = change(now, before)
    st.metric(
        label,
        value,
        delta,
        delta_color="inverse" if inverse else "normal",
        delta_description=description if before is not None else None,
        border=True,
        height="stretch",
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
    """Better or worse: jobs, processing time, failure rate, and who does how much."""
    zone = viewer.zone()
    frame = found.series
    if frame.empty or not int(frame[["completed", "failed", "retried"]].to_numpy().sum()):
        st.info(
            "Nothing has ended in this period: choose a longer one, or add a job on the Queue page.",
            icon=":material/info:",
        )
        return
    step, note = figures.step_name(frame.attrs["step_seconds"]), figures.zone_label(zone, frame["bucket"])
    left, right = st.columns(2)
    with left:
        chart(f"Jobs per {step}", figures.jobs_by_outcome(frame, zone), key="outcomes", note=note)
        chart("Failure rate", figures.failure_rate(frame, zone), key="failure_rate", note=note)
    with right:
        chart("Processing time", figures.run_times(frame, zone), key="run_times", note=note)
        chart("Throughput by type", figures.throughput(found.throughput, zone), key="throughput", note=note)
    _types(found.by_type)


def _types(frame: pd.DataFrame) -> None:
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
