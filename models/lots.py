"""Jobs that one transaction added have one `created_at`: a lot. A page of a large one is found along the primary key.

Sorted by itself, a lot of a million took 0.3 s a page, and longer than a statement may where a text was looked for. An
index on (created_at, id) would have the order, but it made adding jobs 6 % slower, claiming and finishing them 2 %, and
the write-ahead log 10 % larger: three entries a job, each with the id.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

from models.sql import statement

#: A lot of fewer rows is sorted: 2 ms.
SORTED = 2_000


def times(
    connection: psycopg.Connection[Any], earliest: datetime, latest: datetime, most: int
) -> tuple[datetime | None, datetime | None]:
    """`created_at` of the newest job within the two times, which count, and of number `most`; None where there is none.

    The same time twice: a lot of at least that many.
    """
    bounds = {"earliest": earliest, "latest": latest, "others": most - 1}
    row = connection.execute(statement("lot_times"), bounds).fetchone()
    assert row is not None
    return row[0], row[1]


def first_below(connection: psycopg.Connection[Any], moment: datetime, below: str | None, most: int) -> str | None:
    """The greatest id of the lot below that one, None when there is none.

    Ids sort by time, so it is near: among the next `most` of all jobs. At a larger gap and at the lot's end the whole
    lot is read: 0.2 s for a million.
    """
    parameters = {"moment": moment, "below": below, "most": most}
    for name in ("lot_next_near", "lot_next"):
        row = connection.execute(statement(name), parameters).fetchone()
        if row is not None and row[0] is not None:
            return str(row[0])
    return None


def end_of_part(connection: psycopg.Connection[Any], begin: str, most: int) -> str | None:
    """The id, of all jobs, number `most` from `begin` down; None where there are fewer."""
    row = connection.execute(statement("lot_part_end"), {"begin": begin, "others": most - 1}).fetchone()
    return str(row[0]) if row is not None else None
