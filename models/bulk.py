"""Retrying any number of failed jobs: chunk by chunk, spread over time, stoppable, and taken back as far as not begun.

A bulk action is a row of `bulk_actions`. The process that begins it goes on with it in a thread: each transaction takes
up to a thousand jobs and writes down how far it got. If that process dies, nothing is lost and nothing is done twice:
after 30 s without progress the action shows as `interrupted`, and `resume_bulk`, from any process, goes on from there.
Jobs that fail again after it began are not retried by it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import psycopg

from models import database
from models.actions import CHUNK, against_unique_keys, audit, retry_in
from models.error_groups import count_groups, last_retries
from models.filters import JobFilter
from models.ids import can_be_stored, new_job_id
from models.reading import fetch, reading
from models.roles import Actor, require_operator
from models.sql import statement
from models.text_search import text_parameters

logger = logging.getLogger(__name__)

#: The action of all that match a filter; `actions.RETRY` is that of jobs chosen one by one.
BULK_RETRY = "bulk_retry"
#: Failed jobs that a chunk looks at for those that pass its filter.
EXAMINED = 5_000
#: A running action without progress for this long has lost its process; a chunk takes well under a second.
INTERRUPTED_SECONDS = 30.0
#: The bounds of a rate: slower, the last of a million jobs would be due in 32 years.
SLOWEST, FASTEST = 0.001, 1_000_000.0
#: Retries of which more than this share failed again are warned of, where there were at least so many.
FAILED_AGAIN_SHARE, FAILED_AGAIN_RETRIES = 0.5, 3
#: The largest groups tell how the last retries went.
_GROUPS_ASKED = 100


@dataclass(frozen=True, slots=True)
class Preview:
    """What a bulk retry would do. `jobs` is exact unless `capped` (then at least so many); `failed_again_share` is that
    of the last retried jobs of these groups, None where none were retried in the last day."""

    jobs: int
    capped: bool
    groups: int
    failed_again_share: float | None
    warning: str | None

    def __str__(self) -> str:
        return f"{self.jobs:,}{'+' if self.capped else ''} jobs in {self.groups:,} groups"


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """How far a bulk action is; `state` is running, interrupted, done, stopped, undoing or undone."""

    id: str
    who: str
    state: str
    total: int | None
    done: int
    skipped: int
    undone: int


def preview_retry(filter: JobFilter) -> Preview:
    """How many failed jobs pass the filter, and how the last retries of their groups went."""
    _check_filter(filter)
    with reading() as connection:
        counts = count_groups(connection, filter)
        largest = sorted(counts.jobs, key=lambda name: -counts.jobs[name])[:_GROUPS_ASKED]
        retries = last_retries(connection, largest).values()
    retried, again = (sum(column) for column in zip(*retries, strict=True)) if retries else (0, 0)
    share = again / retried if retried else None
    warning = None
    if share is not None and share > FAILED_AGAIN_SHARE and retried >= FAILED_AGAIN_RETRIES:
        warning = (
            f"Of the {retried:,} jobs of these errors that were retried last, {again:,} failed again: "
            "find the cause first, or these will too."
        )
    return Preview(counts.total, counts.capped, len(counts.jobs), share, warning)


def begin_bulk_retry(filter: JobFilter, rate_per_second: float | None, actor: Actor) -> str:
    """Retries all failed jobs that pass the filter, in the background; returns the action's id at once.

    Args:
        rate_per_second: the jobs become due so many a second, one after the other; None: all at once.

    Raises:
        PermissionError: for a viewer.
        ValueError: for a rate out of range, or a filter for other than failed jobs.
    """
    action_id, runner = create_bulk_retry(filter, rate_per_second, actor)
    _in_background(action_id, runner)
    return action_id


def create_bulk_retry(filter: JobFilter, rate_per_second: float | None, actor: Actor) -> tuple[str, str]:
    """As `begin_bulk_retry`, for a caller that goes on with it itself: `run_bulk(*create_bulk_retry(...))`."""
    require_operator(actor)
    _check_filter(filter)
    if rate_per_second is not None and not SLOWEST <= rate_per_second <= FASTEST:
        raise ValueError(f"rate: expected {SLOWEST:g} to {FASTEST:,.0f} jobs a second or none, got {rate_per_second!r}")
    preview = preview_retry(filter)
    action_id, runner = new_job_id(), _new_runner()
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO bulk_actions (id, who, action, filter, rate_per_second, total, runner)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                action_id, actor.name, BULK_RETRY, json.dumps(filter.as_json()), rate_per_second,
                None if preview.capped else preview.jobs, runner,
            ],
        )  # fmt: skip
        detail = {"filter": filter.as_json(), "rate_per_second": rate_per_second, "jobs": preview.jobs}
        audit(connection, actor.name, BULK_RETRY, action_id, detail)
    return action_id, runner


def run_bulk(action_id: str, runner: str) -> Iterator[BulkProgress]:
    """Goes on with a bulk action to its end, or until somebody stops it; yields after each chunk."""
    going_on = True
    while going_on:
        # None: unique keys were taken under its hands again and again; the chunk is tried anew.
        going_on = against_unique_keys(lambda connection: _chunk(connection, action_id, runner)) is not False
        yield find_bulk(action_id)


def stop_bulk(action_id: str, actor: Actor) -> bool:
    """Stops a bulk action after the chunk it is at; what it has retried stays so (see `undo`). False: it had ended.

    Raises:
        PermissionError: for a viewer.
        LookupError: when there is no such action.
    """
    require_operator(actor)
    find_bulk(action_id)
    with database.transaction() as connection:
        stopped = connection.execute(
            "UPDATE bulk_actions SET state = 'stopped', updated_at = now() WHERE id = %s AND state = 'running'"
            " RETURNING done",
            [action_id],
        ).fetchone()
        if stopped:
            audit(connection, actor.name, "bulk_stop", action_id, {"done": stopped[0]})
    return stopped is not None


def resume_bulk(action_id: str, actor: Actor) -> bool:
    """Goes on, in the background of this process, with what was stopped or interrupted. False: it was neither.

    Raises:
        PermissionError: for a viewer.
        LookupError: when there is no such action.
    """
    require_operator(actor)
    find_bulk(action_id)
    runner = _new_runner()
    with database.transaction() as connection:
        taken = connection.execute(
            "UPDATE bulk_actions SET state = 'running', runner = %s, updated_at = now() WHERE id = %s"
            " AND action = %s"
            " AND (state = 'stopped' OR state = 'running' AND updated_at < now() - %s * interval '1 second')"
            " RETURNING done",
            [runner, action_id, BULK_RETRY, INTERRUPTED_SECONDS],
        ).fetchone()
        if taken:
            audit(connection, actor.name, "bulk_resume", action_id, {"done": taken[0]})
    if taken:
        _in_background(action_id, runner)
    return taken is not None


def find_bulk(action_id: str) -> BulkProgress:
    """How far a bulk action is.

    Raises:
        LookupError: when there is no such action.
    """
    with database.transaction() as connection:
        row = connection.execute(
            f"SELECT id, who, {_STATE}, total, done, skipped, undone FROM bulk_actions WHERE id = %s",
            [INTERRUPTED_SECONDS, action_id if can_be_stored(action_id) else None],
        ).fetchone()
    if row is None:
        raise LookupError(f"expected the id of a bulk action, got {action_id!r:.60}: there is none")
    return BulkProgress(*row)


def bulk_actions(limit: int = 20) -> pd.DataFrame:
    """The newest bulk actions.

    Columns: `id`, `who`, `action` (bulk_retry, or retry for chosen jobs), `filter` (a dict), `rate_per_second`, `total`
    (None: too many to count), `done`, `skipped`, `undone`, `state` (running, interrupted, done, stopped, undoing
    or undone), `started_at`, `updated_at`.
    """
    return fetch(
        f"SELECT id, who, action, filter, rate_per_second, total, done, skipped, undone, {_STATE}, started_at,"
        " updated_at FROM bulk_actions ORDER BY started_at DESC LIMIT %s",
        [INTERRUPTED_SECONDS, limit],
    )


_STATE = (
    "CASE WHEN state IN ('running', 'undoing') AND updated_at < now() - %s * interval '1 second'"
    " THEN 'interrupted' ELSE state END AS state"
)


def _chunk(connection: psycopg.Connection[Any], action_id: str, runner: str) -> bool:
    """One chunk, in one transaction; False when that was the last, or it is no longer this runner's to go on with.

    The action's row is locked first: whoever stops it waits for this chunk, and is heard before the next.
    """
    row = connection.execute(
        "SELECT who, filter, rate_per_second, done, skipped, progress, started_at FROM bulk_actions"
        " WHERE id = %s AND runner = %s AND state = 'running' FOR UPDATE",
        [action_id, runner],
    ).fetchone()
    if row is None:
        return False
    who, plain, rate, done, skipped, progress, started_at = row
    found, progress = _next_jobs(connection, JobFilter.from_json(plain), progress, started_at)
    gap = 1 / rate if rate else 0.0
    begin = started_at + timedelta(seconds=done * gap)
    retried = retry_in(connection, found, bulk_action_id=action_id, begin=begin, gap=gap) if found else []
    done, skipped = done + len(retried), skipped + len(found) - len(retried)
    state = "running" if progress else "done"
    connection.execute(
        "UPDATE bulk_actions SET done = %s, skipped = %s, progress = %s, state = %s, updated_at = now() WHERE id = %s",
        [done, skipped, json.dumps(progress or {}), state, action_id],
    )
    if state == "done":
        audit(connection, who, "bulk_retry_done", action_id, {"done": done, "skipped": skipped})
    return state == "running"


def _next_jobs(
    connection: psycopg.Connection[Any], filter: JobFilter, progress: dict[str, Any], began: datetime
) -> tuple[list[str], dict[str, Any] | None]:
    """Up to a thousand ids to retry, and how far the look has come: the group and the place in it; None: the end."""
    connection.execute(statement("along_the_indexes"))
    found: list[str] = []
    examined = 0
    group = progress.get("group")
    if group is None:
        group = _first_group(connection, filter)
    moment, place = progress.get("moment", began), progress.get("place", "(0,0)")
    wanted = {**filter.parameters(), **text_parameters(connection, filter)}
    while group is not None and examined < EXAMINED:
        look = {
            **wanted, "group": group, "moment": moment, "place": place, "examined": EXAMINED - examined,
            "most": CHUNK - len(found),
        }  # fmt: skip
        rows = connection.execute(statement("bulk_candidates"), look).fetchall()
        found += [row[0] for row in rows]
        if len(found) == CHUNK:
            return found, _place(group, *rows[-1][1:])
        end = connection.execute(statement("bulk_end_of_look"), look).fetchone()
        looked_at, *last = end or (0, None, None)
        examined += looked_at
        if examined == EXAMINED:
            return found, _place(group, *last)
        group = None if filter.fingerprint is not None else _next_group(connection, group)
        moment, place = began, "(0,0)"
    return found, None if group is None else _place(group, began, "(0,0)")


def _place(group: str, moment: datetime, place: str) -> dict[str, Any]:
    return {"group": group, "moment": moment.isoformat(), "place": place}


def _first_group(connection: psycopg.Connection[Any], filter: JobFilter) -> str | None:
    if filter.fingerprint is not None:
        return filter.fingerprint
    row = connection.execute(
        "SELECT fingerprint FROM background_jobs WHERE status = 'failed' ORDER BY fingerprint LIMIT 1"
    ).fetchone()
    return row[0] if row else None


def _next_group(connection: psycopg.Connection[Any], group: str) -> str | None:
    row = connection.execute(
        "SELECT fingerprint FROM background_jobs WHERE status = 'failed' AND fingerprint > %s"
        " ORDER BY fingerprint LIMIT 1",
        [group],
    ).fetchone()
    return row[0] if row else None


def _check_filter(filter: JobFilter) -> None:
    if filter.statuses not in ((), ("failed",)):
        got = ", ".join(filter.statuses)
        raise ValueError(f"status: expected failed or none, as only failed jobs are retried in bulk, got {got}")


def _in_background(action_id: str, runner: str) -> None:
    threading.Thread(target=_run_quietly, args=(action_id, runner), name=f"bulk {action_id}", daemon=True).start()


def _run_quietly(action_id: str, runner: str) -> None:
    try:
        for _ in run_bulk(action_id, runner):
            pass
    except Exception:
        logger.exception("the bulk action %s was interrupted; it can be resumed from where it got", action_id)


def _new_runner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{new_job_id()}"
