"""How the command line prints: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TextIO

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]

#: Into a file or pipe, wide enough for the tables; rich would take 80 columns.
_PIPE_WIDTH = 140


class CommandError(Exception):
    """The command could not do what it was asked; its message is for the person who typed it."""


def _console(stream: TextIO, **options: Any) -> Console:
    return Console(width=None if stream.isatty() else _PIPE_WIDTH, **options)


console = _console(sys.stdout)
errors = _console(sys.stderr, stderr=True)


def print_json(data: Any) -> None:
    """One JSON document on standard output; times in ISO 8601, UTC."""
    sys.stdout.write(json.dumps(data, default=_plain, ensure_ascii=False, indent=2) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; cells are shown as they are, whatever markup a job's texts may hold."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console.print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """A thing's fields, one a line."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), Text(shown(value)))
    console.print(grid)


def shown(value: Any) -> str:
    """A value for people: nothing for None, seconds for times, JSON for structures."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return str(value)


def duration(seconds: float | None) -> str:
    """Seconds for people: 12 ms, 3.4 s, 2 min 5 s."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.001:
        return "under 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
