"""What a read asks the database: its statements with their times, and the executed plan of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from models.reading import reading

_SETTINGS = ("SET ", "SELECT NOW()")


@dataclass
class Statement:
    """One statement as it was sent; what it took in milliseconds, and its plan when it was explained."""

    text: str
    parameters: Any
    milliseconds: float
    nodes: list[dict[str, Any]]
    buffers: int = 0

    @property
    def most_rows(self) -> int:
        """The most rows that a node gave out or threw away, over all its loops."""
        return max((_rows(node) for node in self.nodes), default=0)

    def indexes_of(self, table: str) -> set[str]:
        """The indexes by which it reads the table; the table's name where it reads it otherwise.

        "a sample": TABLESAMPLE, which reads as many pages as it is told, whatever the table's size; see `buffers`.
        """
        scans = [node for node in self.nodes if node.get("Relation Name") == table and "Scan" in node["Node Type"]]
        return {
            "a sample" if node["Node Type"] == "Sample Scan" else _leaf(node).get("Index Name", table) for node in scans
        }

    @property
    def tables(self) -> set[str]:
        return {node["Relation Name"] for node in self.nodes if "Relation Name" in node}


class _Recording(psycopg.Cursor[Any]):
    """A cursor that keeps what it was asked."""

    kept: list[Statement] | None = None

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        began = time.perf_counter()
        super().execute(query, params, **options)
        if self.kept is not None:
            taken = (time.perf_counter() - began) * 1000
            self.kept.append(Statement(str(query), params, taken, []))
        return self


@contextmanager
def _recorded() -> Iterator[list[Statement]]:
    # The pool gives out the connection that was used last, so it is the one that the read gets.
    with reading() as connection:
        before, connection.cursor_factory = connection.cursor_factory, _Recording
    _Recording.kept = []
    try:
        yield _Recording.kept
    finally:
        _Recording.kept = None
        with reading() as connection:
            connection.cursor_factory = before


def statements_of(read: Callable[[], object]) -> list[Statement]:
    """What the read sends, with the settings of its transactions."""
    with _recorded() as kept:
        read()
        found = list(kept)
    assert found, "the read used another connection"
    return found


def plans_of(read: Callable[[], object]) -> list[Statement]:
    """Its statements, each explained as it ran: after the same settings, in a read-only transaction."""
    explained = []
    with reading(timeout=60) as connection:
        for each in statements_of(read):
            if each.text.lstrip().upper().startswith(_SETTINGS) or "SET LOCAL" in each.text:
                if "statement_timeout" not in each.text:
                    connection.execute(each.text)
                continue
            explained.append(explain(connection, each))
    return explained


def explain(connection: psycopg.Connection[Any], asked: Statement) -> Statement:
    """The statement with its plan, executed on the connection."""
    row = connection.execute(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {asked.text}".encode(), asked.parameters
    ).fetchone()
    assert row is not None
    top = row[0][0]["Plan"]
    asked.nodes = list(_nodes(top))
    asked.buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return asked


def _rows(node: dict[str, Any]) -> int:
    thrown_away: float = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Join Filter"))
    loops, rows = float(node["Actual Loops"]), float(node["Actual Rows"])
    return round(loops * (rows + thrown_away))


def _leaf(scan: dict[str, Any]) -> dict[str, Any]:
    """Of a bitmap's heap scan the scan of its index."""
    while scan["Node Type"].startswith("Bitmap") and scan.get("Plans"):
        scan = scan["Plans"][0]
    return scan


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)
