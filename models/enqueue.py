"""Storing new jobs: COPY for bulk, one INSERT where unique keys or the caller's transaction ask for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import text
from sqlmodel import Session

from models import database
from models.door import NewJob
from models.sql import statement

_COLUMNS = ("id", "job_type", "payload", "priority", "max_retries", "scheduled_for", "unique_key")
#: A unique key can be freed and taken again by others while we look; more than this many times is not believable.
_UNIQUE_KEY_TRIES = 10


class UniqueKeyContentionError(RuntimeError):
    """A unique key changed hands so fast that neither adding the job nor finding the holder succeeded."""


def store(jobs: Sequence[NewJob], session: Session | None = None) -> list[str]:
    """Stores the jobs, all or none, and returns their ids in order; for a taken unique key its holder's id.

    Args:
        session: the caller's; the jobs then commit or roll back with it. Without, they are committed here.
    """
    if not jobs:
        return []
    if session is not None:
        return _insert(jobs, lambda parameters: _in_session(session, parameters))
    with database.transaction() as connection:
        if len(jobs) > 1 and all(job.unique_key is None for job in jobs):
            _copy(connection, jobs)
            return [job.id for job in jobs]
        return _insert(
            jobs, lambda parameters: connection.execute(statement("insert_jobs"), parameters).fetchall()
        )


def _copy(connection: psycopg.Connection[Any], jobs: Sequence[NewJob]) -> None:
    # COPY has no default for one row of a column, so rows without a time go by themselves and get the database's now().
    for timed in (False, True):
        rows = [job for job in jobs if (job.scheduled_for is not None) == timed]
        if not rows:
            continue
        columns = _COLUMNS[:6] if timed else _COLUMNS[:5]
        with connection.cursor().copy(f"COPY background_jobs ({', '.join(columns)}) FROM STDIN") as copy:
            for job in rows:
                row = (job.id, job.job_type, job.payload, job.priority, job.max_retries)
                copy.write_row((*row, job.scheduled_for) if timed else row)


def _insert(jobs: Sequence[NewJob], execute: Callable[[dict[str, list[Any]]], Sequence[Any]]) -> list[str]:
    """Inserts what is not taken, and finds the holders of what is; again for keys freed in between."""
    ids: dict[str, str] = {}
    missing = list(jobs)
    for _ in range(_UNIQUE_KEY_TRIES):
        first_of_key = {job.unique_key or job.id: job for job in reversed(missing)}
        for wanted, got in execute(_parameters(list(first_of_key.values()))):
            ids[wanted] = got
        by_key = {job.unique_key: ids[job.id] for job in first_of_key.values() if job.id in ids and job.unique_key}
        for job in missing:
            if job.unique_key in by_key:
                ids[job.id] = by_key[job.unique_key]
        missing = [job for job in missing if job.id not in ids]
        if not missing:
            return [ids[job.id] for job in jobs]
    raise UniqueKeyContentionError(
        f"the unique key {missing[0].unique_key!r} was freed and taken by others {_UNIQUE_KEY_TRIES} times in a row; "
        "nothing was added, try again"
    )


def _parameters(jobs: Sequence[NewJob]) -> dict[str, list[Any]]:
    # Ordered by unique key, so that two batches over the same keys wait for each other in the same order.
    ordered = sorted(jobs, key=lambda job: (job.unique_key or "", job.id))
    return {
        "ids": [job.id for job in ordered],
        "job_types": [job.job_type for job in ordered],
        "payloads": [job.payload for job in ordered],
        "priorities": [job.priority for job in ordered],
        "max_retries": [job.max_retries for job in ordered],
        "scheduled_for": [job.scheduled_for for job in ordered],
        "unique_keys": [job.unique_key for job in ordered],
    }


def _in_session(session: Session, parameters: Mapping[str, Any]) -> Sequence[Any]:
    # The same statement with SQLAlchemy's parameter style: it goes through the caller's own connection, of any driver.
    rows = session.connection().execute(_session_statement, dict(parameters))
    return rows.fetchall()


def _as_sqlalchemy(psycopg_text: str) -> Any:
    escaped = psycopg_text.replace("::", r"\:\:")
    return text(re.sub(r"%\((\w+)\)s", r":\1", escaped))


_session_statement = _as_sqlalchemy(statement("insert_jobs"))
