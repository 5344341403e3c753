"""The roll-ups become coarser with age: minutes older than two days are merged into hours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import LiteralString

from models import database
from models.retention import MINUTES_KEPT
from models.sql import statement

#: What has minutes and hours (`resolution` 1 and 60), and the statement that merges one hour of it.
_MERGED_BY: dict[LiteralString, str] = {"job_metrics": "merge_minutes", "backlog_samples": "merge_samples"}


def merge_minutes() -> Iterator[int]:
    """Merges the minutes of what ended and of the backlog that are older than 48 hours, an hour per transaction.

    Yields:
        How many minute rows each hour had.
    """
    for table, merge in _MERGED_BY.items():
        for hour in _hours_to_merge(table):
            with database.transaction() as connection:
                row = connection.execute(statement(merge), {"hour": hour}).fetchone()
            assert row is not None
            yield row[0]


def _hours_to_merge(table: LiteralString) -> list[datetime]:
    with database.transaction() as connection:
        rows = connection.execute(
            f"SELECT DISTINCT date_trunc('hour', bucket, 'UTC') AS hour FROM {table}"
            " WHERE resolution = 1 AND bucket < date_trunc('hour', now() - %s::interval, 'UTC') ORDER BY hour",
            [MINUTES_KEPT],
        ).fetchall()
    return [row[0] for row in rows]
