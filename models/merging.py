"""The roll-up becomes coarser with age: minutes older than two days are merged into hours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from models import database
from models.retention import MINUTES_KEPT
from models.sql import statement


def merge_minutes() -> Iterator[int]:
    """Merges the roll-up's minutes that are older than 48 hours into hours, an hour per transaction.

    Yields:
        How many minute rows each hour had.
    """
    for hour in _hours_to_merge():
        with database.transaction() as connection:
            row = connection.execute(statement("merge_minutes"), {"hour": hour}).fetchone()
        assert row is not None
        yield row[0]


def _hours_to_merge() -> list[datetime]:
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT DISTINCT date_trunc('hour', bucket, 'UTC') AS hour FROM job_metrics"
            " WHERE resolution = 1 AND bucket < date_trunc('hour', now() - %s::interval, 'UTC') ORDER BY hour",
            [MINUTES_KEPT],
        ).fetchall()
    return [row[0] for row in rows]
