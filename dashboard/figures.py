"""Figures as pure functions: a frame in, a Plotly figure out."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

#: Okabe and Ito's colours, which colour-blind people tell apart.
COMPLETED, FAILED, RETRIED = "#009E73", "#D55E00", "#E69F00"
MEDIAN, P95 = "#0072B2", "#56B4E9"
#: A bar is as wide as what it counts, also where the next one is an hour away.
MINUTE_MS = 60_000


def throughput(frame: pd.DataFrame) -> go.Figure:
    """Jobs per minute, by how they ended."""
    figure = go.Figure()
    for name, colour in (("completed", COMPLETED), ("retried", RETRIED), ("failed", FAILED)):
        figure.add_bar(x=frame["minute"], y=frame[name], name=name, marker_color=colour, width=MINUTE_MS)
    figure.update_layout(barmode="stack", title="Jobs per minute", yaxis_title="jobs", **_quiet())
    return figure


def run_time(frame: pd.DataFrame) -> go.Figure:
    """Median and 95th percentile of the seconds a job ran."""
    figure = go.Figure()
    for name, colour in (("p50", MEDIAN), ("p95", P95)):
        figure.add_scatter(x=frame["minute"], y=frame[name], name=name, mode="lines+markers", line_color=colour)
    figure.update_layout(title="Run time", yaxis_title="seconds", **_quiet())
    figure.update_yaxes(rangemode="tozero")
    return figure


def failure_rate(frame: pd.DataFrame) -> go.Figure:
    """failed / (completed + failed), per minute."""
    figure = go.Figure()
    figure.add_scatter(
        x=frame["minute"], y=frame["failure_rate"], name="failure rate", mode="lines+markers", line_color=FAILED
    )
    figure.update_layout(title="Failure rate", **_quiet())
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    return figure


def _quiet() -> dict[str, object]:
    return {
        "height": 280,
        "margin": {"l": 10, "r": 10, "t": 40, "b": 10},
        "legend": {"orientation": "h", "y": -0.3},
        "hovermode": "x unified",
    }
