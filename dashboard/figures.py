"""Figures as pure functions: a frame in, a Plotly figure and what it shows in words out.

Streamlit puts a chart up anew whenever its figure changes at all, so a figure is a function of closed buckets and
nothing else: no time of day in it, no order that changes. Colours are the placeholders which Streamlit replaces by the
theme's own, light or dark. Plotly drops time zones, so times are moved to the viewer's before, and the axis says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from dashboard.text import count, duration, share, visible

#: The first six of the theme's `chartCategoricalColors`, and its grey, by Streamlit's placeholders.
COLOURS = ("#000001", "#000002", "#000003", "#000004", "#000005", "#000006")
DONE, BAD, SECOND, THIRD, FOURTH, _ = COLOURS
#: Light to dark of the theme's `chartSequentialColors`: priorities 1 to 10.
STEPS = tuple(f"#0000{number}" for number in range(11, 21))
HEIGHT = 260
#: Types in a chart; the smallest of more are one, "others". More names than this fill a phone's width thrice.
MOST_TYPES = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, and what it shows in one or two sentences, for those who cannot see it."""

    figure: go.Figure
    alt: str


def jobs_by_outcome(frame: pd.DataFrame, zone: ZoneInfo) -> Figure:
    """How many jobs ended in each step: completed, and failed on top. `frame` as `metrics.series` gives it."""
    figure = _figure(frame, zone, "jobs")
    step = frame.attrs["step_seconds"]
    _say_utc(figure, frame["bucket"], zone)
    for column, name, colour in (("completed", "completed", DONE), ("failed", "failed", BAD)):
        figure.add_bar(
            x=_local(frame["bucket"], zone),
            y=frame[column].tolist(),
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            width=step * 1000 * 0.86,
            offset=step * 1000 * 0.07,
            hovertemplate=f"%{{y:,}} {name}<extra></extra>",
        )
    figure.update_layout(barmode="stack", hovermode="x unified")
    total, failed = int(frame["completed"].sum()), int(frame["failed"].sum())
    alt = f"Jobs that ended, per {step_name(step)}: {count(total)} completed and {count(failed)} failed"
    if len(frame) and total:
        place = int(frame["completed"].to_numpy().argmax())
        most, when = int(frame["completed"].iloc[place]), frame["bucket"].iloc[place]
        alt += f"; the most, {count(most)}, at {_when(when, zone)}"
    return Figure(figure, f"{alt}.")


def run_times(frame: pd.DataFrame, zone: ZoneInfo) -> Figure:
    """How long a job ran: half were quicker than p50, 5 in 100 slower than p95, 1 in 100 slower than p99."""
    return _percentiles(frame, zone, "run", ("p50", "p95", "p99"), "Processing time")


def failure_rate(frame: pd.DataFrame, zone: ZoneInfo) -> Figure:
    """failed / (completed + failed) of each step; the hover says of how many."""
    figure = _figure(frame, zone, "of what ended")
    _say_utc(figure, frame["bucket"], zone)
    ended = (frame["completed"] + frame["failed"]).tolist()
    figure.add_scatter(
        x=_local(frame["bucket"], zone),
        y=frame["failure_rate"].tolist(),
        name="failed",
        mode="lines+markers",
        marker={"size": 4},
        line={"color": BAD, "width": 2},
        customdata=[
            f"{share(rate)} failed, {count(failed)} of {count(of)}"
            for rate, failed, of in zip(frame["failure_rate"], frame["failed"], ended, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    worst = frame["failure_rate"].max() if len(frame) else float("nan")
    figure.update_yaxes(tickformat=".0%", range=[0, min(1.0, max(0.05, 1.15 * (0 if worst != worst else worst)))])
    figure.update_layout(showlegend=False, hovermode="x unified")
    ended_total, failed_total = sum(ended), int(frame["failed"].sum())
    if not ended_total:
        return Figure(figure, "Share of jobs that failed: nothing ended in this period.")
    return Figure(
        figure,
        f"Share of jobs that failed: {share(failed_total / ended_total)} of {count(ended_total)} in all, "
        f"at worst {share(worst)} in one {step_name(frame.attrs['step_seconds'])}.",
    )


def throughput(frame: pd.DataFrame, zone: ZoneInfo) -> Figure:
    """What completed in each step by job type; of more than five the smallest are "others"."""
    totals = frame.groupby("job_type")["completed"].sum().sort_values(ascending=False, kind="stable")
    # By name among themselves, so that a colour does not change hands when two types change places.
    named = sorted(totals.index[: MOST_TYPES if len(totals) <= MOST_TYPES else MOST_TYPES - 1])
    table = frame.pivot_table(index="bucket", columns="job_type", values="completed", aggfunc="sum", fill_value=0)
    others = [name for name in table.columns if name not in named]
    figure = _figure(frame, zone, "completed")
    _say_utc(figure, pd.Series(table.index), zone)
    step = frame.attrs["step_seconds"]
    lines = [(name, table[name]) for name in named]
    if others:
        lines.append(("others", table[others].sum(axis=1)))
    for (name, values), colour in zip(lines, COLOURS, strict=False):
        shown = visible(name, 40).replace("<", "‹")
        figure.add_bar(
            x=_local(pd.Series(table.index), zone),
            y=values.tolist(),
            name=shown,
            marker={"color": colour, "line": {"width": 0}},
            width=step * 1000 * 0.86,
            offset=step * 1000 * 0.07,
            hovertemplate="%{y:,} %{fullData.name}<extra></extra>",
        )
    figure.update_layout(barmode="stack", hovermode="x unified")
    if totals.empty:
        return Figure(figure, "Completed jobs by type: nothing completed in this period.")
    parts = ", ".join(f"{visible(name, 40)} {count(jobs)}" for name, jobs in totals.head(3).items())
    return Figure(figure, f"Completed jobs by type, per {step_name(step)}. The most: {parts}.")


def backlog(frame: pd.DataFrame, zone: ZoneInfo) -> Figure:
    """How many jobs were due and how many ran, the mean of each step; `frame` as `backlog_samples.backlog_series` gives
    it. A step without samples is a gap: nobody looked, and that is not zero."""
    figure = _figure(frame, zone, "jobs")
    _say_utc(figure, frame["bucket"], zone)
    for column, colour in (("due", DONE), ("running", SECOND)):
        figure.add_scatter(
            x=_local(frame["bucket"], zone),
            y=frame[column].tolist(),
            name=column,
            mode="lines+markers",
            marker={"size": 4},
            line={"color": colour, "width": 2},
            customdata=[
                _mean(each, capped and column == "due")
                for each, capped in zip(frame[column], frame["capped"], strict=True)
            ],
            hovertemplate=f"%{{customdata}} {column}<extra></extra>",
        )
    figure.update_layout(hovermode="x unified")
    known = frame[frame["due"].notna()]
    if known.empty:
        return Figure(figure, "The backlog: not sampled in this period.")
    step, last = step_name(frame.attrs["step_seconds"]), known.iloc[-1]
    worst = known.iloc[int(known["due"].to_numpy().argmax())]
    return Figure(
        figure,
        f"The backlog, mean of each {step}: at the end {_mean(last['due'], last['capped'])} due and"
        f" {_mean(last['running'])} running; the most due, {_mean(worst['due'], worst['capped'])},"
        f" at {_when(worst['bucket'], zone)}{_unsampled(frame)}.",
    )


def oldest_waiting(frame: pd.DataFrame, zone: ZoneInfo) -> Figure:
    """For how long the oldest due job had been due, the worst of each step; 0: nothing was due."""
    figure = _figure(frame, zone, "")
    _say_utc(figure, frame["bucket"], zone)
    values = frame["oldest_most"]
    figure.add_scatter(
        x=_local(frame["bucket"], zone),
        y=values.tolist(),
        name="oldest",
        mode="lines+markers",
        marker={"size": 4},
        line={"color": DONE, "width": 2},
        customdata=["nothing due" if each == 0 else duration(each) for each in values],
        hovertemplate="%{customdata}<extra></extra>",
    )
    _duration_axis(figure, values)
    figure.update_layout(showlegend=False, hovermode="x unified")
    known = frame[values.notna()]
    if known.empty:
        return Figure(figure, "The oldest waiting job: not sampled in this period.")
    worst = known.iloc[int(known["oldest_most"].to_numpy().argmax())]
    if not worst["oldest_most"]:
        return Figure(figure, f"The oldest waiting job: nothing was due when it was sampled{_unsampled(frame)}.")
    return Figure(
        figure,
        f"How long the oldest waiting job had been due, the worst of each {step_name(frame.attrs['step_seconds'])}:"
        f" at the end {duration(known['oldest_most'].iloc[-1])}; the longest, {duration(worst['oldest_most'])},"
        f" at {_when(worst['bucket'], zone)}{_unsampled(frame)}.",
    )


def _mean(jobs: float, capped: bool = False) -> str:
    """A mean of counts: under ten, a tenth of a job says that there was one now and then."""
    return f"{jobs:.1f}" if jobs < 9.95 and jobs != round(jobs) else count(jobs, capped=bool(capped))


def _unsampled(frame: pd.DataFrame) -> str:
    missing = int(frame["due"].isna().sum())
    return f"; no worker sampled {missing} of the {len(frame)} steps" if missing else ""


def ages(frame: pd.DataFrame) -> Figure:
    """How long the due jobs have waited. Columns: `age` (a range in words, in order) and `jobs`."""
    figure = go.Figure()
    # Lying down: eight ranges in words do not fit under bars on a phone.
    figure.add_bar(
        x=frame["jobs"].tolist(),
        y=frame["age"].tolist(),
        orientation="h",
        marker={"color": DONE, "line": {"width": 0}},
        hovertemplate="%{x:,} jobs: %{y}<extra></extra>",
    )
    figure.update_layout(**_layout(""), showlegend=False, bargap=0.25)
    figure.update_yaxes(type="category", autorange="reversed", nticks=len(frame) + 1)
    figure.update_xaxes(fixedrange=True, rangemode="tozero", nticks=5, tickformat=",")
    parts = ", ".join(
        f"{age}: {count(int(jobs))}" for age, jobs in zip(frame["age"], frame["jobs"], strict=True) if jobs
    )
    return Figure(figure, f"Due jobs by how long they have waited: {parts or 'none'}.")


def waits_by_priority(frame: pd.DataFrame) -> Figure:
    """p95 of the wait of each priority, in seconds. Columns: `priority`, `wait_p50`, `wait_p95`."""
    figure = go.Figure()
    ordered = frame.sort_values("priority", ascending=False)
    for column, name, colour in (("wait_p50", "p50", DONE), ("wait_p95", "p95", SECOND)):
        figure.add_bar(
            x=[str(each) for each in ordered["priority"]],
            y=ordered[column].tolist(),
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            customdata=[duration(each) for each in ordered[column]],
            hovertemplate=f"{name} %{{customdata}}<extra></extra>",
        )
    figure.update_layout(**_layout(""), barmode="group", hovermode="x unified", bargap=0.3)
    figure.update_xaxes(type="category", fixedrange=True, title={"text": "priority", "font": {"size": 11}})
    _duration_axis(figure, ordered["wait_p95"])
    pairs = zip(ordered["priority"], ordered["wait_p95"], strict=True)
    parts = ", ".join(f"{priority}: {duration(float(wait))}" for priority, wait in pairs)
    return Figure(figure, f"How long 95 in 100 jobs waited at most, by priority: {parts or 'nothing ended'}.")


def step_name(seconds: float) -> str:
    """A step in words, behind "per": minute, 5 min, hour, 3 h, day."""
    return {60: "minute", 3600: "hour", 86_400: "day", 604_800: "week"}.get(int(seconds), duration(seconds))


def _percentiles(frame: pd.DataFrame, zone: ZoneInfo, kind: str, names: tuple[str, ...], title: str) -> Figure:
    figure = _figure(frame, zone, "")
    _say_utc(figure, frame["bucket"], zone)
    for name, colour, width in zip(names, (DONE, SECOND, THIRD), (2.5, 2, 1.5), strict=False):
        values = frame[f"{kind}_{name}"]
        figure.add_scatter(
            x=_local(frame["bucket"], zone),
            y=values.tolist(),
            name=name,
            mode="lines+markers",
            marker={"size": 4},
            line={"color": colour, "width": width},
            customdata=[duration(each) for each in values],
            hovertemplate=f"{name} %{{customdata}}<extra></extra>",
        )
    _duration_axis(figure, frame[f"{kind}_{names[-1]}"])
    figure.update_layout(hovermode="x unified")
    measured = frame[f"{kind}_p50"].dropna()
    if measured.empty:
        return Figure(figure, f"{title}: nothing ran in this period.")
    latest = frame.loc[measured.index[-1]]
    parts = ", ".join(f"{name} {duration(latest[f'{kind}_{name}'])}" for name in names)
    first = duration(measured.iloc[0])
    return Figure(figure, f"{title}, last step with jobs: {parts}; p50 at the beginning {first}.")


def _figure(frame: pd.DataFrame, zone: ZoneInfo, unit: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(**_layout(unit))
    figure.update_xaxes(
        type="date",
        showgrid=False,
        fixedrange=True,
        hoverformat="%-d %b %H:%M",
    )
    if len(frame):
        # The whole period, also where its ends are empty.
        edges = pd.Series([frame["bucket"].iloc[0], frame["bucket"].iloc[-1]])
        edges.iloc[1] += pd.Timedelta(seconds=frame.attrs["step_seconds"])
        figure.update_xaxes(range=_local(edges, zone))
    return figure


def zone_label(zone: ZoneInfo, buckets: pd.Series) -> str:
    """The zone's name with its distance from UTC at the end: "Europe/Zurich, UTC+1"."""
    if zone.key == "UTC":
        return "UTC"
    at = buckets.iloc[-1].to_pydatetime() if len(buckets) else datetime(2026, 1, 1, tzinfo=zone)
    offset = at.astimezone(zone).utcoffset()
    hours = offset.total_seconds() / 3600 if offset else 0
    return f"{zone.key}, UTC{hours:+g}"


def _layout(unit: str) -> dict[str, object]:
    return {
        "height": HEIGHT,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        # Above: below, it would lie on the axis at phone width.
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
            "font": {"size": 11},
            "title": {"text": ""},
        },
        "yaxis": {
            "title": {"text": unit, "font": {"size": 11}},
            "rangemode": "tozero",
            "fixedrange": True,
            "nticks": 5,
            "tickformat": ",",
        },
        "dragmode": False,
    }


def _duration_axis(figure: go.Figure, values: pd.Series) -> None:
    """Ticks in words: 200 ms, 5 s, 2 min; seconds as numbers mean little from a minute on."""
    most = values.max()
    if most != most or most <= 0:
        return
    step = next(each for each in _TICKS if most / each <= 5)
    ticks = [step * number for number in range(int(most // step) + 2)]
    figure.update_yaxes(tickvals=ticks, ticktext=["0" if not each else duration(each) for each in ticks])


_TICKS = [
    *(base * 10**power for power in (-4, -3, -2, -1, 0) for base in (1, 2, 5)),
    10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400,
    *(86_400 * 2**power for power in range(1, 20)),
]  # fmt: skip


def _local(times: pd.Series, zone: ZoneInfo) -> list[str]:
    return [each.tz_convert(zone).strftime("%Y-%m-%dT%H:%M:%S") for each in times]


def _say_utc(figure: go.Figure, times: pd.Series, zone: ZoneInfo) -> None:
    """A first line of the hover with the time in UTC, where the axis is in another zone."""
    if zone.key == "UTC":
        return
    figure.add_scatter(
        x=_local(times, zone),
        y=[0] * len(times),
        mode="markers",
        opacity=0,
        showlegend=False,
        customdata=[each.strftime("%H:%M UTC") for each in times],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _when(when: pd.Timestamp, zone: ZoneInfo) -> str:
    local = when.tz_convert(zone)
    return f"{local.day} {local:%b %H:%M}"
