"""Adding jobs and hearing which of them are new: a taken unique key gives the id of the job that has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models import database
from models.queue import job_queue


@dataclass(frozen=True, slots=True)
class AddedJob:
    """A job's id; `added` False: another job had the unique key already, and this is its id."""

    id: str
    added: bool


def add_jobs(jobs: Iterable[Mapping[str, Any]]) -> list[AddedJob]:
    """Adds the jobs, all or none, and says of each, in order, whether it is new.

    Args:
        jobs: `job_queue.add_job`'s arguments, a dict for each.

    Raises:
        InvalidJobError: naming the first job that cannot be added, counted from 0; nothing is stored.
    """
    with database.session() as session:
        ids = job_queue.add_batch(jobs, session=session)
        # What was inserted here has `created_at` at its default, now(), which stays the same from a transaction's
        # beginning to its end; older jobs have an older one.
        rows = session.connection().exec_driver_sql(
            "SELECT id FROM background_jobs WHERE id = ANY (%(ids)s::text[]) AND created_at = now()", {"ids": ids}
        )
        new = {row[0] for row in rows}
        session.commit()
    added = []
    for job_id in ids:
        added.append(AddedJob(job_id, job_id in new))
        # The same key twice in one call: the second one was taken by the first.
        new.discard(job_id)
    return added
