"""The page of a report: one HTML file with its figures and Plotly in it, which loads nothing from anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from models.report_table import Column, Table
from models.reports import Headline, Kind, Report

#: What no script element may contain, in JSON's own spelling.
_ESCAPES = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}
#: A headline under this much change is called the same.
_SAME = 0.0005


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: figures by name with what they show, and tables by name."""

    title: str
    figures: tuple[tuple[str, str], ...]
    tables: tuple[str, ...]


SECTIONS = (
    Section(
        "Revenue",
        (("revenue", "Revenue over time"), ("revenue_by_tier", "Revenue by customer tier")),
        ("revenue_by_tier", "revenue", "deals"),
    ),
    Section(
        "Pipeline",
        (("pipeline_by_stage", "Estimated value by stage"), ("pipeline_by_age", "Estimated value by age")),
        ("pipeline_by_stage", "pipeline_by_tier", "pipeline_by_age"),
    ),
    Section(
        "Job performance",
        (("jobs", "Jobs that ended"), ("run_time", "Run time by job type")),
        ("jobs", "failures"),
    ),
)


def page(report: Report, tables: Sequence[Table], figures: Mapping[str, go.Figure], company: str) -> bytes:
    """The page as a file's content."""
    specs = {name: json.loads(str(figure.to_json())) for name, figure in figures.items()}
    text = _environment.get_template("report.html.j2").render(
        report=report,
        company=company,
        sections=SECTIONS,
        tables={table.name: table for table in tables},
        figures=figures,
        specs=json.dumps(specs).translate(_ESCAPES),
        plotly=get_plotlyjs(),
    )
    return text.encode()


def shown(value: Any, kind: Kind, *, short: bool = False) -> str:
    """A value as it is read: `$1,234.50`, `12.3%`, `1.2 s`; a dash where there is none. `short`: thousands without
    cents."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    match kind:
        case "money":
            decimals = 0 if short and abs(value) >= 1000 else 2
            return f"{'-' if value < 0 else ''}${abs(value):,.{decimals}f}"
        case "count":
            return f"{value:,.0f}"
        case "percent":
            return f"{value:.1%}"
        case "seconds":
            return _duration(value)
        case "date" if isinstance(value, date):
            return value.isoformat()
        case "time" if isinstance(value, datetime):
            return value.strftime("%Y-%m-%d %H:%M")
    return str(value)


def look(column: Column) -> str:
    """The class of a column's cells: numbers to the right, long text with room, ids and types in one line."""
    if column.kind == "text":
        return {"message": "text long", "title": "text long", "customer": "text long"}.get(column.name, "text plain")
    return "date" if column.kind in ("date", "time") else "number"


def change(headline: Headline) -> tuple[str, str]:
    """How a headline compares with the period before, in words, and whether that is `good`, `bad` or neither."""
    if headline.value is None or headline.before is None:
        return "nothing to compare with", ""
    difference = headline.value - headline.before
    if headline.kind == "percent":
        text = f"{abs(difference) * 100:.1f} points"
        same = abs(difference) < _SAME
    elif headline.before:
        ratio = headline.value / headline.before
        text = f"{abs(ratio - 1):.0%}" if ratio < 10 else f"{ratio:,.0f} times"
        same = abs(ratio - 1) < _SAME
    else:
        text, same = "", not difference
    if same:
        return "the same", ""
    better = (difference > 0) == (headline.good == "up")
    return f"{'▲ up' if difference > 0 else '▼ down'} {text}".rstrip(), "good" if better else "bad"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    if seconds < 120:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(shown=shown, look=look, change=change)
