"""The figures of a report: pure functions from a frame to a Plotly figure, with a template of our own.

Colours of text and lines are set in the page, which follows the reader's light or dark scheme.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go

from models.reports import Report

#: Okabe and Ito's colours, which colour-blind people tell apart; those that are seen on white and on black.
BLUE, SKY, GREEN, ORANGE, VERMILION = "#2b7fc4", "#56B4E9", "#009E73", "#E69F00", "#D55E00"
_GREY = "#7d8590"
#: Given explicitly: Streamlit and others change Plotly's default when they are imported.
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": _GREY},
        "colorway": [BLUE, ORANGE, GREEN, VERMILION, SKY],
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "height": 300,
        "dragmode": False,
        "hovermode": "closest",
        "bargap": 0.25,
        "legend": {"orientation": "h", "y": -0.15, "x": 0},
        "xaxis": {"automargin": True, "fixedrange": True, "zeroline": False, "showgrid": False},
        "yaxis": {"automargin": True, "fixedrange": True, "zeroline": False, "rangemode": "tozero"},
    }
)


def figures(report: Report) -> dict[str, go.Figure]:
    """The figures by the section they belong to; one without anything to show is left out."""
    frames = report.frames
    made = {
        "revenue": _revenue(frames["revenue"]),
        "revenue_by_tier": _revenue_by_tier(frames["revenue_by_tier"]),
        "pipeline_by_stage": _pipeline(frames["pipeline_by_stage"], "stage"),
        "pipeline_by_age": _pipeline(frames["pipeline_by_age"], "age"),
        "jobs": _jobs(report.jobs_over_time),
        "run_time": _run_time(frames["jobs"]),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def _revenue(frame: pd.DataFrame) -> go.Figure | None:
    if not frame["revenue"].any():
        return None
    figure = _figure()
    days = [day.isoformat() for day in frame["from_day"]]
    hover = "%{x}: $%{y:,.2f}<extra></extra>"
    figure.add_bar(x=days, y=frame["revenue"].tolist(), marker_color=BLUE, hovertemplate=hover)
    figure.update_yaxes(tickprefix="$")
    # Days that are few are named one by one; else Plotly chooses.
    figure.update_xaxes(type="category" if len(days) <= 8 else "date")
    return figure


def _revenue_by_tier(frame: pd.DataFrame) -> go.Figure | None:
    if not frame[["revenue", "revenue_before"]].to_numpy().any():
        return None
    figure = _figure()
    tiers = _shown(frame["tier"])
    for name, title, colour in (("revenue_before", "Period before", SKY), ("revenue", "This period", BLUE)):
        figure.add_bar(
            x=tiers, y=frame[name].tolist(), name=title, marker_color=colour,
            hovertemplate="%{x}: $%{y:,.2f}<extra>" + title + "</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="group")
    figure.update_yaxes(tickprefix="$")
    return figure


def _pipeline(frame: pd.DataFrame, by: str) -> go.Figure | None:
    if not frame["opportunities"].any():
        return None
    figure = _figure()
    figure.add_bar(
        y=_shown(frame[by]), x=frame["value"].tolist(), orientation="h", marker_color=GREEN,
        customdata=frame["opportunities"].tolist(),
        hovertemplate="%{y}: $%{x:,.2f}, %{customdata:,} opportunities<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(tickprefix="$", rangemode="tozero", nticks=5)
    # From the top, as in the table.
    figure.update_yaxes(autorange="reversed", rangemode="normal")
    return figure


def _jobs(frame: pd.DataFrame) -> go.Figure | None:
    columns = ["completed", "retried", "failed"]
    if frame.empty or not frame[columns].to_numpy().any():
        return None
    figure = _figure()
    # As text: Plotly takes a zone off, and means the same.
    steps = frame["bucket"].dt.strftime("%Y-%m-%d %H:%M").tolist()
    for name, colour in zip(columns, (GREEN, ORANGE, VERMILION), strict=True):
        figure.add_bar(
            x=steps, y=frame[name].tolist(), name=name, marker_color=colour,
            hovertemplate="%{x}: %{y:,}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack")
    return figure


def _run_time(frame: pd.DataFrame) -> go.Figure | None:
    frame = frame.dropna(subset=["run_p50"])
    if frame.empty:
        return None
    figure = _figure()
    types = _shown(frame["job_type"])
    for name, title, colour in (("run_p50", "half of the jobs", SKY), ("run_p95", "95 of 100 jobs", BLUE)):
        figure.add_bar(
            y=types, x=frame[name].tolist(), name=title, orientation="h", marker_color=colour,
            hovertemplate="%{y}: %{x:.3s}s<extra>" + title + "</extra>",
        )  # fmt: skip
    # Milliseconds beside minutes.
    figure.update_xaxes(type="log", ticksuffix="s", dtick=1, exponentformat="SI", showgrid=True)
    figure.update_yaxes(autorange="reversed", rangemode="normal")
    figure.update_layout(barmode="group", height=max(300, 80 + 44 * len(types)))
    return figure


def _figure() -> go.Figure:
    return go.Figure(layout={"template": TEMPLATE})


def _shown(labels: Iterable[str]) -> list[str]:
    """Labels as Plotly shows them letter by letter: it reads them as HTML, links included."""
    return [html.escape(label if len(label) <= 30 else f"{label[:29]}…", quote=False) for label in labels]
