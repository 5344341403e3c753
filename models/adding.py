"""Adding jobs and hearing which of them are new: a taken unique key gives the id of the job that has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlmodel import Session

from models import database
from models.actions import audit
from models.queue import job_queue


@dataclass(frozen=True, slots=True)
class AddedJob:
    """A job's id; `added` False: another job had the unique key already, and this is its id."""

    id: str
    added: bool


#: In the audit log: jobs that somebody added by hand or by the API. What flows and other code add is nobody's action.
ADD = "add"


def add_jobs(jobs: Iterable[Mapping[str, Any]], *, who: str | None = None) -> list[AddedJob]:
    """Adds the jobs, all or none, and says of each, in order, whether it is new.

    Args:
        jobs: `job_queue.add_job`'s arguments, a dict for each.
        who: whose action it is, for the audit log: one entry for all that are new, with how many of which types, and
            nothing of their payloads. None: the code's own.

    Raises:
        InvalidJobError: naming the first job that cannot be added, counted from 0; nothing is stored.
    """
    wanted = list(jobs)
    with database.session() as session:
        ids = job_queue.add_batch(wanted, session=session)
        # What was inserted here has `created_at` at its default, now(), which stays the same from a transaction's
        # beginning to its end; older jobs have an older one.
        rows = session.connection().exec_driver_sql(
            "SELECT id FROM background_jobs WHERE id = ANY (%(ids)s::text[]) AND created_at = now()", {"ids": ids}
        )
        new = {row[0] for row in rows}
        added = []
        for job_id in ids:
            added.append(AddedJob(job_id, job_id in new))
            # The same key twice in one call: the second one was taken by the first.
            new.discard(job_id)
        if who is not None:
            _audit(session, who, wanted, added)
        session.commit()
    return added


def _audit(session: Session, who: str, jobs: list[Mapping[str, Any]], added: list[AddedJob]) -> None:
    """One entry, with the jobs' own `created_at`: that is how the others of its jobs find it (`audit_of.sql`)."""
    types = Counter(str(job["type"]) for job, made in zip(jobs, added, strict=True) if made.added)
    if not types:
        return
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    first = next(made.id for made in added if made.added)
    audit(connection, who, ADD, first, {"jobs": types.total(), "types": dict(sorted(types.items()))})
