"""History, a page at a time, newest first: a bounded look along an index, whatever the filter.

A look is at 20,000 rows at most, and an empty page looks on a few times. With a filter that few jobs pass it may be
short, or empty all the same, and still say where to go on (`next_cursor`). Rare statuses (cancelled, running) are few
rows of an index of their own, and found at once. Jobs that were added together have one `created_at` and are ordered by
their ids (`models.lots`). Those that failed at one and the same time are sorted, each lot by itself: a page of a lot of
100,000 takes 40 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, LiteralString

import pandas as pd
import psycopg

from models import lots
from models.cursors import CursorError, read_cursor, written_cursor
from models.door import EARLIEST, LATEST
from models.filters import JobFilter
from models.jobs import JobStatus
from models.reading import frame_of, reading
from models.sql import statement, with_shared
from models.text_search import text_parameters

#: Rows a page looks at for those that pass its filter: 20 to 50 ms.
EXAMINED = 20_000
#: Looks for a page that would be empty, a statement each: 10 ms, or 50 ms where payloads are searched for a text.
MOST_LOOKS, MOST_LOOKS_FOR_TEXT = 20, 4
#: A slice of (job type, status) up to this size is read as a whole and sorted: 10 ms.
SMALL_SLICE = 5_000
#: Of a payload, what a table shows.
PAYLOAD_SHOWN = 1_000
MOST_ROWS = 1_000
_NO_FILTER = JobFilter()
#: Of what times in PostgreSQL are whole numbers.
_MICROSECOND = timedelta(microseconds=1)

__all__ = ["EXAMINED", "MOST_ROWS", "CursorError", "Page", "newest_ids", "page"]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, the cursor of the next (None: that was the last), and how many rows were looked at at most."""

    frame: pd.DataFrame
    next_cursor: str | None
    examined: int = EXAMINED


def page(filter: JobFilter = _NO_FILTER, cursor: str | None = None, limit: int = 50) -> Page:
    """One page of the jobs that pass the filter, newest first (when they were added; failed ones: when they failed).

    Columns: `id`, `job_type`, `status`, `priority`, `attempts`, `max_retries`, `created_at`, `scheduled_for`,
    `started_at`, `completed_at`, `wait_seconds`, `run_seconds`, `error_message`, `worker_id`, `progress`, `payload`
    (JSON text, the first thousand characters).

    Raises:
        CursorError: for a cursor that no page gave out.
        ValueError: for a limit outside 1..1000.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: expected 1 to {MOST_ROWS}, got {limit}")
    order = _order(filter)
    looked_at, rows = 0, 0
    frames: list[pd.DataFrame] = []
    with reading() as connection:
        source = _source(connection, filter, order)
        # An empty page is of no use to anybody: a few more looks. One that is short for little looking is filled up.
        for _ in range(MOST_LOOKS_FOR_TEXT if filter.text else MOST_LOOKS):
            found = _look(connection, filter, cursor, limit - rows, order, source)
            looked_at, rows, cursor = looked_at + found.examined, rows + len(found.frame), found.next_cursor
            frames.append(found.frame)
            if cursor is None or rows == limit or rows and looked_at >= EXAMINED:
                break
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return Page(filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True), cursor, looked_at)


def newest_ids(filter: JobFilter, limit: int) -> list[str]:
    """The ids of the newest jobs that pass, by when they were added, whatever their status; look by look until there
    are enough of them."""
    found: list[str] = []
    cursor: str | None = None
    while len(found) < limit:
        with reading() as connection:
            source = _source(connection, filter, "added")
            look = _look(connection, filter, cursor, limit - len(found), "added", source)
        found.extend(look.frame["id"])
        cursor = look.next_cursor
        if cursor is None:
            break
    return found


@dataclass(frozen=True, slots=True)
class _Source:
    """What a list is walked through: FROM and WHERE, and the parameters of those."""

    text: LiteralString
    parameters: dict[str, Any] = field(default_factory=dict)


def _look(
    connection: psycopg.Connection[Any],
    filter: JobFilter,
    cursor: str | None,
    limit: int,
    order: str,
    source: _Source,
) -> Page:
    after = read_cursor(cursor, order)
    parameters = {
        **filter.parameters(), **text_parameters(connection, filter), **source.parameters, **after, "most": limit + 1,
        "shown": PAYLOAD_SHOWN,
    }  # fmt: skip
    if source.text == _EVERYTHING:
        return _look_at_everything(connection, filter, parameters, after, limit)
    # Where every row that is looked at passes, no more are looked at than the page has.
    parameters["examined"] = parameters["most"] if _all_pass(filter, source.text) else EXAMINED
    walk = _walk(source.text, _MOMENTS[order], after["moment"], after["id"])
    frame = frame_of(connection.execute(_PAGE.replace("/* walk */", walk), parameters))
    if len(frame) > limit:
        frame = frame.iloc[:limit]
        following: str | None = written_cursor(order, frame["id"].iloc[-1], frame["moment"].iloc[-1])
    else:
        following = _end_of_walk(connection, order, walk, parameters)
    return Page(_shown(frame), following, parameters["examined"])


def _look_at_everything(
    connection: psycopg.Connection[Any],
    filter: JobFilter,
    parameters: dict[str, Any],
    after: dict[str, Any],
    limit: int,
) -> Page:
    """A look along created_at at whole lots; or, where a larger one begins, at a part of that along the ids."""
    all_pass = _all_pass(filter, _EVERYTHING)
    most = lots.SORTED if all_pass else EXAMINED
    first, last = lots.times(connection, *_bounds(filter, after), most)
    if last is not None and first == last:
        return _look_at_lot(connection, parameters, after, limit, last, all_pass)
    parameters = {**parameters, "examined": most, "last": last or EARLIEST - _MICROSECOND}
    walk = _walk(_EVERYTHING, "created_at", after["moment"], after["id"], later_than_last=True, ordered=all_pass)
    if not all_pass:
        # What passes is sorted: fewer rows than were looked at.
        connection.execute("SET LOCAL enable_sort = on")
    frame = frame_of(connection.execute(_PAGE.replace("/* walk */", walk), parameters))
    following = None
    if len(frame) > limit:
        frame = frame.iloc[:limit]
        following = written_cursor("added", frame["id"].iloc[-1], frame["moment"].iloc[-1])
    elif last is not None:
        # No id is less than this one, and no time is between the two: the lot of that time comes next, from its start.
        following = written_cursor("added", "", last + _MICROSECOND)
    return Page(_shown(frame), following, len(frame) if all_pass else EXAMINED)


def _bounds(filter: JobFilter, after: dict[str, Any]) -> tuple[datetime, datetime]:
    """The earliest and the latest time from the cursor on."""
    earliest, latest = EARLIEST, LATEST
    if filter.period is not None:
        earliest, latest = max(earliest, filter.period.start), min(latest, filter.period.end - _MICROSECOND)
    if after["moment"] is not None:
        latest = min(latest, after["moment"] - _MICROSECOND if after["id"] == "" else after["moment"])
    return earliest, latest


def _look_at_lot(
    connection: psycopg.Connection[Any],
    parameters: dict[str, Any],
    after: dict[str, Any],
    limit: int,
    moment: datetime,
    all_pass: bool,
) -> Page:
    """A look at a part of the lot of that time, in the order of the ids."""
    below = after["id"] if after["moment"] == moment and after["id"] else None
    begin = lots.first_below(connection, moment, below, EXAMINED)
    # Where nothing is left of it, the part is empty: no id is less than this one.
    parameters = {**parameters, "lot": moment, "begin": begin or "", "examined": EXAMINED}
    frame = frame_of(connection.execute(_PAGE.replace("/* walk */", _PART_OF_LOT), parameters))
    if len(frame) > limit:
        frame = frame.iloc[:limit]
        place = frame["id"].iloc[-1]
    else:
        place = begin and lots.end_of_part(connection, begin, EXAMINED)
    return Page(_shown(frame), written_cursor("added", place or "", moment), len(frame) if all_pass else EXAMINED)


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["moment"]).reset_index(drop=True)


_PAGE: LiteralString = with_shared("""
SELECT
    walked.moment, job.id, job.job_type, job.status, job.priority, job.retry_count + 1 AS attempts, job.max_retries,
    job.created_at, job.scheduled_for, job.started_at, job.completed_at,
    extract(epoch FROM job.started_at - least(job.scheduled_for, job.started_at))::float8 AS wait_seconds,
    extract(epoch FROM job.completed_at - job.started_at)::float8 AS run_seconds,
    job.error_message, job.worker_id, job.progress, left(job.payload::text, %(shown)s) AS payload
FROM (/* walk */) AS walked
-- One probe a row: joined in the open, the planner went through all jobs for each of them.
CROSS JOIN LATERAL (SELECT * FROM background_jobs WHERE id = walked.id OFFSET 0) AS job
WHERE (%(job_types)s::text[] IS NULL OR walked.job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR walked.priority = ANY (%(priorities)s::int[]))
  AND (%(statuses)s::text[] IS NULL OR walked.status = ANY (%(statuses)s::text[]))
  AND /* found_by_text */
ORDER BY walked.moment DESC, walked.id DESC
LIMIT %(most)s
""")
#: By what a list is ordered: the column, or the expression, of the index it walks along.
_MOMENTS: dict[str, LiteralString] = {
    "added": "created_at",
    "failed": "completed_at",
    "group": "COALESCE(completed_at, created_at)",
}
_EVERYTHING: LiteralString = "background_jobs WHERE true"
_FAILED: LiteralString = "background_jobs WHERE status = 'failed'"
_GROUP: LiteralString = "background_jobs WHERE status = 'failed' AND fingerprint = %(fingerprint)s"
#: In a lot the primary key has the order already.
_PART_OF_LOT: LiteralString = (
    "SELECT id, created_at AS moment, job_type, priority, status FROM ("
    "SELECT id, created_at, job_type, priority, status FROM background_jobs"
    " WHERE id <= %(begin)s ORDER BY id DESC LIMIT %(examined)s) AS part"
    " WHERE created_at = %(lot)s"
)
#: Fenced, or the planner walks along idx_jobs_created_at all the same.
_SLICE: LiteralString = (
    "(SELECT id, created_at, job_type, priority, status FROM background_jobs"
    " WHERE job_type = ANY (%(slice_types)s) AND status = ANY (%(slice_statuses)s) OFFSET 0) AS slice WHERE true"
)


def _order(filter: JobFilter) -> str:
    if filter.fingerprint is not None:
        return "group"
    return "failed" if filter.statuses == ("failed",) else "added"


def _source(connection: psycopg.Connection[Any], filter: JobFilter, order: str) -> _Source:
    """What to walk through; and the settings of the transaction that keep the planner on that way."""
    connection.execute(statement("along_the_indexes"))
    # Jobs that were added together have one time: they are put in the order of their ids, each lot by itself.
    connection.execute("SET LOCAL enable_incremental_sort = on")
    if order == "group":
        return _Source(_GROUP)
    if order == "failed":
        return _Source(_FAILED)
    if not filter.statuses and not filter.job_types:
        return _Source(_EVERYTHING)
    # Few rows are read as a whole: one cancelled job in a million would be far to walk.
    types = filter.job_types or [row[0] for row in connection.execute(statement("types_with_jobs"), {"status": None})]
    parameters = {"slice_types": list(types), "slice_statuses": list(filter.statuses or JobStatus)}
    row = connection.execute(
        "SELECT count(*) FROM (SELECT FROM background_jobs WHERE job_type = ANY (%(slice_types)s)"
        " AND status = ANY (%(slice_statuses)s) LIMIT %(too_many)s) AS counted",
        {**parameters, "too_many": SMALL_SLICE + 1},
    ).fetchone()
    if row is None or row[0] > SMALL_SLICE:
        return _Source(_EVERYTHING)
    connection.execute("SET LOCAL enable_sort = on")
    return _Source(_SLICE, parameters)


def _all_pass(filter: JobFilter, source: LiteralString) -> bool:
    if filter.text or filter.priorities:
        return False
    return source == _SLICE or not filter.job_types and (source != _EVERYTHING or not filter.statuses)


def _walk(
    source: LiteralString,
    column: LiteralString,
    moment: datetime | None,
    job_id: str | None,
    *,
    ordered: bool = True,
    later_than_last: bool = False,
) -> LiteralString:
    """The ids that one page looks at, in the order of the index and then of the ids.

    A job's place in the table would be cheaper than its id, but a progress report changes it.
    """
    conditions: list[LiteralString] = []
    if moment is not None and job_id == "":
        conditions += [f"{column} < %(moment)s"]
    elif moment is not None:
        conditions += [f"{column} <= %(moment)s", f"({column} < %(moment)s OR id < %(id)s)"]
    elif job_id is not None:
        # In an index that descends, what has no such time comes first.
        conditions += [f"({column} IS NOT NULL OR id < %(id)s)"]
    conditions += [
        f"(%(since)s::timestamptz IS NULL OR {column} >= %(since)s::timestamptz)",
        f"(%(until)s::timestamptz IS NULL OR {column} < %(until)s::timestamptz)",
    ]
    if later_than_last:
        conditions += [f"{column} > %(last)s"]
    rows: LiteralString = (
        f"SELECT id, {column} AS moment, job_type, priority, status FROM {source} AND {' AND '.join(conditions)}"
    )
    # Of a group all columns of its index are named, as no other one has that order.
    first: LiteralString = "fingerprint, " if source == _GROUP else ""
    return f"{rows} ORDER BY {first}{column} DESC, id DESC LIMIT %(examined)s" if ordered else rows


def _end_of_walk(
    connection: psycopg.Connection[Any], order: str, walk: LiteralString, parameters: dict[str, Any]
) -> str | None:
    """Where the look ended for its bound; None when it went through to the end."""
    last = connection.execute(
        f"SELECT id, moment FROM ({walk}) AS walked OFFSET %(examined)s - 1", parameters
    ).fetchone()
    return written_cursor(order, *last) if last else None
