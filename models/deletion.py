"""Deleting what is past its retention (`models.retention`): chunk after chunk, each a transaction of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models import database
from models.reading import reading
from models.retention import POLICIES, Policy
from models.sql import statement

#: A transaction of 5,000 jobs takes 60 ms (a million rows, measured): nobody waits, and it is not all overhead.
CHUNK_ROWS = 5_000
#: Counting what would go stops here; more is "a lot".
PROBE_ROWS = 100_000
PROBE_SECONDS = 10.0

_OLD = "{at} < now() - make_interval(days => %(days)s) AND {only}"
_DELETE = (
    # By place: whoever changes a row meanwhile moves it, and it is left for the next time.
    "DELETE FROM {table} WHERE ctid = ANY (ARRAY("
    f"SELECT ctid FROM {{table}} WHERE {_OLD} ORDER BY {{at}} LIMIT %(most)s FOR UPDATE SKIP LOCKED))"
)


@dataclass(frozen=True, slots=True)
class DeletedJobs:
    """One chunk that is gone: how many jobs by status, their failed attempts, and how much of the time to go through
    is done, 0 to 1."""

    by_status: Counter[str]
    failures: int
    share: float

    @property
    def jobs(self) -> int:
        return self.by_status.total()


def delete_old_jobs(days: Mapping[str, int], *, chunk_rows: int = CHUNK_ROWS) -> Iterator[DeletedJobs]:
    """Deletes the jobs that ended more than so many days ago, oldest first, a chunk per transaction.

    Never what is pending or processing, however old. Jobs that somebody is just retrying are left for the next time.

    Args:
        days: how long jobs are kept, by status (`retention.days_by_status`).
    """
    if min(days.values()) < 1 or chunk_rows < 1:
        raise ValueError(f"days, chunk_rows: expected 1 or more, got {dict(days)}, {chunk_rows}")
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT now(), extract(epoch FROM now() - make_interval(days => %s)"
            " - (SELECT min(created_at) FROM background_jobs))::float8",
            [min(days.values())],
        ).fetchone()
    assert row is not None
    now, span = row
    after, deleted = "-infinity", chunk_rows
    while deleted == chunk_rows:
        with database.transaction() as connection:
            # With stale statistics the planner reads and sorts all old rows for each chunk: 800 ms instead of 60.
            connection.execute(statement("along_the_indexes"))
            row = connection.execute(
                statement("delete_old_jobs"), {**days, "after": after, "now": now, "most": chunk_rows}
            ).fetchone()
        assert row is not None
        *counts, failures, last, left = row
        by_status = Counter(dict(zip(("completed", "failed", "cancelled"), counts, strict=True)))
        deleted = by_status.total()
        if deleted:
            after = last
            yield DeletedJobs(by_status, failures, 1 - left / span if span else 1.0)


def delete_old_rows(policy: Policy, days: int | None = None, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[int]:
    """Deletes what the policy lets go, oldest first, a chunk per transaction; yields how many rows went.

    Rows that somebody holds are left for the next time.

    Args:
        days: instead of the policy's own.
    """
    sql = _DELETE.format(table=policy.table, at=policy.at, only=policy.only)
    deleted = chunk_rows
    while deleted == chunk_rows:
        with database.transaction() as connection:
            deleted = connection.execute(
                sql.encode(), {"days": days or policy.days, "most": chunk_rows}
            ).rowcount
        if deleted:
            yield deleted


def probe(days: Mapping[str, int], keep: Mapping[str, int]) -> dict[str, int]:
    """What would be deleted, by status of the jobs and by policy; counting each stops at 100,000, and deletes nothing.

    Args:
        days: how long jobs are kept, by status.
        keep: days by policy name where they are not the policy's own.
    """
    found: dict[str, int] = {}
    asked: dict[str, Any]
    with reading(timeout=PROBE_SECONDS) as connection:
        for status, kept in days.items():
            asked = {"status": status, "days": kept, "most": PROBE_ROWS}
            counted = connection.execute(statement("count_old_jobs"), asked)
            found[f"{status} jobs"] = int((counted.fetchone() or [0])[0])
        for policy in POLICIES:
            old = _OLD.format(at=policy.at, only=policy.only)
            sql = f"SELECT count(*) FROM (SELECT FROM {policy.table} WHERE {old} LIMIT %(most)s) AS old"
            asked = {"days": keep.get(policy.name, policy.days), "most": PROBE_ROWS}
            counted = connection.execute(sql.encode(), asked)
            found[policy.name] = int((counted.fetchone() or [0])[0])
    return found
