"""Jobs, workers and error groups as frames, for tables: bounded slices of the hot table, each along an index.

History is read newest first, a page at a time. A page looks at a bounded number of rows: with a filter that few jobs
pass it may be short, or empty, and still say where to go on (`next_cursor`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import pandas as pd
import psycopg

from models import metrics
from models.door import EARLIEST, LATEST
from models.error_groups import failed_groups
from models.filters import JobFilter
from models.ids import can_be_stored
from models.reading import fetch, frame_of, reading
from models.rescue import LEASE_SECONDS
from models.sql import statement

__all__ = ["CursorError", "Page", "active_jobs", "audit", "audit_of", "failed_groups", "page", "workers"]

#: Rows a page looks at for those that pass its filter: about 20 ms.
EXAMINED = 20_000
#: Of a payload, what a table shows.
PAYLOAD_SHOWN = 1_000
MOST_ROWS = 1_000
_NO_FILTER = JobFilter()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, the cursor of the next (None: that was the last), and how many rows were looked at at most."""

    frame: pd.DataFrame
    next_cursor: str | None
    examined: int = EXAMINED


class CursorError(ValueError):
    """The cursor is none that `page` gave out for such a filter."""


def active_jobs(limit: int = 200) -> pd.DataFrame:
    """What runs now, the longest-running first.

    Columns: `id`, `job_type`, `priority`, `worker_id`, `started_at`, `running_seconds`, `progress` (0..1 or NaN),
    `progress_note`, `expected_p50`, `expected_p95` (seconds, by the type's last seven days), `beat_age_seconds` of its
    worker, `heartbeat_lost` (its jobs are about to be put back), `slower_than_p95`, `eta_seconds` (until it ends, by
    its progress or else by the type's median; NaN where neither says anything), `flow_run_id`, `task_run_id`,
    `attempt`.
    """
    frame = fetch(statement("active_jobs"), {"most": _limit(limit), "lease": LEASE_SECONDS})
    expected = metrics.expected_durations(sorted(set(frame["job_type"])))
    unknown = (float("nan"), float("nan"))
    for place, name in enumerate(("expected_p50", "expected_p95")):
        frame[name] = pd.Series([expected.get(each, unknown)[place] for each in frame["job_type"]], dtype=float)
    frame["slower_than_p95"] = frame["running_seconds"] > frame["expected_p95"]
    by_progress = frame["running_seconds"] * (1 / frame["progress"].where(frame["progress"] > 0) - 1)
    by_median = (frame["expected_p50"] - frame["running_seconds"]).where(lambda left: left > 0)
    frame["eta_seconds"] = by_progress.fillna(by_median).astype(float)
    return frame[
        [
            "id", "job_type", "priority", "worker_id", "started_at", "running_seconds", "progress", "progress_note",
            "expected_p50", "expected_p95", "beat_age_seconds", "heartbeat_lost", "slower_than_p95", "eta_seconds",
            "flow_run_id", "task_run_id", "attempt",
        ]
    ]  # fmt: skip


def workers() -> pd.DataFrame:
    """Workers that have not signed off, the oldest first.

    Columns: `worker_id`, `host`, `pid`, `job_types` (list), `state` (working, idle, stopping or silent), `started_at`,
    `beat_at`, `beat_age_seconds`, `heartbeat_lost`, `running` (jobs it holds), `flow_run_id`.
    """
    return fetch(statement("workers"), {"lease": LEASE_SECONDS})


def page(filter: JobFilter = _NO_FILTER, cursor: str | None = None, limit: int = 50) -> Page:
    """One page of the jobs that pass the filter, newest first (when they were added; failed ones: when they failed).

    Columns: `id`, `job_type`, `status`, `priority`, `attempts`, `max_retries`, `created_at`, `scheduled_for`,
    `started_at`, `completed_at`, `wait_seconds`, `run_seconds`, `error_message`, `worker_id`, `progress`, `payload`
    (JSON text, the first thousand characters).

    Raises:
        CursorError: for a cursor that no page gave out.
        ValueError: for a limit outside 1..1000.
    """
    by_failure = filter.statuses == ("failed",) or filter.fingerprint is not None
    column: LiteralString = "completed_at" if by_failure else "created_at"
    after = _read_cursor(cursor, column)
    parameters = {**filter.parameters(), **after, "most": _limit(limit) + 1, "shown": PAYLOAD_SHOWN}
    # Where every row that is looked at passes, no more are looked at than the page has.
    sifted = [parameters[name] for name in ("job_types", "priorities", "pattern")]
    sifted += [None if by_failure else parameters["statuses"]]
    parameters["examined"] = parameters["most"] if all(each is None for each in sifted) else EXAMINED
    walk = _walk(column, by_failure, after["moment"], after["id"])
    with reading() as connection:
        connection.execute(statement("along_the_indexes"))
        # Jobs that were added together have one time: they are put in the order of their ids, each lot by itself.
        connection.execute("SET LOCAL enable_incremental_sort = on")
        frame = frame_of(
            connection.execute(_PAGE.replace("/* walk */", walk).replace("/* column */", column), parameters)
        )
        following = None
        if len(frame) > limit:
            frame = frame.iloc[:limit]
            following = _cursor(column, frame["id"].iloc[-1], frame[column].iloc[-1])
        else:
            following = _end_of_walk(connection, column, walk, parameters)
    return Page(frame.reset_index(drop=True), following, parameters["examined"])


_PAGE: LiteralString = """
SELECT
    job.id, job.job_type, job.status, job.priority, job.retry_count + 1 AS attempts, job.max_retries,
    job.created_at, job.scheduled_for, job.started_at, job.completed_at,
    extract(epoch FROM job.started_at - least(job.scheduled_for, job.started_at))::float8 AS wait_seconds,
    extract(epoch FROM job.completed_at - job.started_at)::float8 AS run_seconds,
    job.error_message, job.worker_id, job.progress, left(job.payload::text, %(shown)s) AS payload
FROM (/* walk */) AS walked
-- One probe a row: joined in the open, the planner went through all jobs for each of them.
CROSS JOIN LATERAL (SELECT * FROM background_jobs WHERE id = walked.id OFFSET 0) AS job
WHERE (%(job_types)s::text[] IS NULL OR job.job_type = ANY (%(job_types)s::text[]))
  AND (%(priorities)s::int[] IS NULL OR job.priority = ANY (%(priorities)s::int[]))
  AND (%(statuses)s::text[] IS NULL OR job.status = ANY (%(statuses)s::text[]))
  AND (%(pattern)s::text IS NULL
       OR job.error_message ILIKE %(pattern)s::text OR job.payload::text ILIKE %(pattern)s::text)
ORDER BY job./* column */ DESC, job.id DESC
LIMIT %(most)s
"""


def _walk(column: LiteralString, failed: bool, moment: datetime | None, job_id: str | None) -> LiteralString:
    """The ids that one page looks at, in the order of the index and then of the ids.

    A job's place in the table would be cheaper than its id, but a progress report changes it.
    """
    conditions: list[LiteralString] = ["status = 'failed'"] if failed else []
    if moment is not None:
        conditions += [f"{column} <= %(moment)s", f"({column} < %(moment)s OR id < %(id)s)"]
    elif job_id is not None:
        # In an index that descends, what has no such time comes first.
        conditions += [f"({column} IS NOT NULL OR id < %(id)s)"]
    conditions += [
        f"(%(since)s::timestamptz IS NULL OR {column} >= %(since)s::timestamptz)",
        f"(%(until)s::timestamptz IS NULL OR {column} < %(until)s::timestamptz)",
    ]
    return (
        f"SELECT id, {column} FROM background_jobs WHERE {' AND '.join(conditions)}"
        f" ORDER BY {column} DESC, id DESC LIMIT %(examined)s"
    )


def _end_of_walk(
    connection: psycopg.Connection[Any], column: LiteralString, walk: LiteralString, parameters: dict[str, Any]
) -> str | None:
    """Where the look ended for its bound; None when it went through to the end."""
    last = connection.execute(
        f"SELECT id, {column} FROM ({walk}) AS walked OFFSET %(examined)s - 1", parameters
    ).fetchone()
    return _cursor(column, *last) if last else None


def _cursor(column: str, job_id: str, moment: Any) -> str:
    when = None if moment is None or pd.isna(moment) else moment.isoformat()
    return base64.urlsafe_b64encode(json.dumps([column, when, job_id]).encode()).decode()


def _read_cursor(cursor: str | None, column: str) -> dict[str, Any]:
    if cursor is None:
        return {"moment": None, "id": None}
    try:
        kind, moment, job_id = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        when = None if moment is None else datetime.fromisoformat(moment).astimezone(UTC)
        if not isinstance(job_id, str) or not can_be_stored(job_id):
            raise ValueError("an id that none has")
        if when is not None and not EARLIEST <= when <= LATEST:
            raise ValueError("a time that no job has")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CursorError(f"expected a cursor that a page gave out, got {cursor!r:.80}: {error}") from None
    if kind != column:
        raise CursorError("this cursor belongs to a list with another order: begin again with the first page")
    return {"moment": when, "id": job_id}


def audit_of(target: str, limit: int = 100) -> pd.DataFrame:
    """What was done to a job, a job type or a bulk action, newest first. Columns as those of `audit`."""
    return fetch(
        "SELECT at, who, action, target, detail FROM audit_log WHERE target = %s ORDER BY id DESC LIMIT %s",
        [target if can_be_stored(target) else None, _limit(limit)],
    )


def audit(limit: int = 100) -> pd.DataFrame:
    """The newest entries of the audit log. Columns: `at`, `who`, `action`, `target`, `detail` (a dict)."""
    return fetch("SELECT at, who, action, target, detail FROM audit_log ORDER BY at DESC LIMIT %s", [_limit(limit)])


def _limit(limit: int) -> int:
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: expected 1 to {MOST_ROWS}, got {limit}")
    return limit
