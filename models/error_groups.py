"""Failed jobs by error group: the fingerprint of the failure that ended them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import psycopg

from models.filters import JobFilter
from models.reading import frame_of, reading
from models.sql import statement
from models.text_search import text_parameters

#: Counted exactly up to here: 35 ms along the index. Above, each of up to a thousand groups up to its share of it.
EXACT_UP_TO = 400_000
MOST_GROUPS = 1_000
#: Failed jobs that are looked at for a filter by priority or period, and for one by text, which takes longer.
EXAMINED, EXAMINED_FOR_TEXT = 50_000, 20_000
#: Bars of a trend, an hour each, and what a bar shows at most.
TREND_HOURS, TREND_MOST = 24, 10_000
#: The retries that say whether another one is worth while.
LAST_RETRIES, RETRIES_HOURS = 100, 24
_NO_FILTER = JobFilter()


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Failed jobs by fingerprint; `capped`: there are more than were counted."""

    jobs: dict[str, int]
    capped: bool

    @property
    def total(self) -> int:
        return sum(self.jobs.values())


def failed_groups(filter: JobFilter = _NO_FILTER, limit: int = 100) -> pd.DataFrame:
    """Failed jobs by error group, the largest first.

    Columns: `fingerprint` (empty: failed by plain SQL), `job_type`, `error_class`, `message` (of the newest), `jobs`
    (failed now), `first_seen`, `last_seen`, `trend` (failed attempts in each of the last 24 closed hours, a list, the
    oldest first, at most 10,000 each), `retried_since` (of the last 24 hours the last hundred jobs that people retried)
    and `failed_again` (how many of those are failed now). `frame.attrs["capped"]`: there are more jobs than counted.
    """
    with reading() as connection:
        counts = count_groups(connection, filter)
        largest = sorted(counts.jobs, key=lambda name: (-counts.jobs[name], name))[:limit]
        asked: dict[str, Any] = {"fingerprints": largest}
        frame = frame_of(connection.execute(statement("group_samples"), asked))
        trends = dict(
            connection.execute(
                statement("group_trends"), {**asked, "hours": TREND_HOURS, "most": TREND_MOST}
            ).fetchall()
        )
        retries = last_retries(connection, largest)
    names = list(frame["fingerprint"])
    frame.insert(4, "jobs", pd.Series([counts.jobs[name] for name in names], dtype="int64"))
    frame["trend"] = pd.Series([trends.get(name, [0] * TREND_HOURS) for name in names], dtype=object)
    for place, column in enumerate(("retried_since", "failed_again")):
        frame[column] = pd.Series([retries.get(name, (0, 0))[place] for name in names], dtype="int64")
    frame.attrs["capped"] = counts.capped
    return frame


def count_groups(connection: psycopg.Connection[Any], filter: JobFilter) -> GroupCounts:
    """Failed jobs that pass the filter, by group; in the caller's transaction."""
    connection.execute(statement("along_the_indexes"))
    if filter.statuses and "failed" not in filter.statuses:
        return GroupCounts({}, False)
    parameters = {**filter.parameters(), **text_parameters(connection, filter)}
    if filter.text or filter.priorities or filter.period:
        examined = EXAMINED_FOR_TEXT if filter.text else EXAMINED
        asked = {**parameters, "examined": examined}
        rows = connection.execute(statement("count_groups_filtered"), asked).fetchall()
        beyond = connection.execute(
            "SELECT FROM background_jobs WHERE status = 'failed'"
            " AND (%(since)s::timestamptz IS NULL OR completed_at >= %(since)s::timestamptz)"
            " AND (%(until)s::timestamptz IS NULL OR completed_at < %(until)s::timestamptz)"
            " ORDER BY completed_at DESC OFFSET %(examined)s LIMIT 1",
            asked,
        ).fetchone()
        return GroupCounts(dict(rows), beyond is not None)
    most = EXACT_UP_TO + 1
    rows = connection.execute(statement("count_groups"), {**parameters, "most": most}).fetchall()
    counts = GroupCounts(dict(rows), False)
    if counts.total == most:
        counts = _capped(connection, filter)
    return _of_types(connection, counts, filter) if filter.job_types else counts


def last_retries(connection: psycopg.Connection[Any], fingerprints: Sequence[str]) -> dict[str, tuple[int, int]]:
    """By group: how many of its jobs people retried lately (the last hundred), and how many of those failed again."""
    rows = connection.execute(
        statement("group_retries"),
        {"fingerprints": list(fingerprints), "most": LAST_RETRIES, "hours": RETRIES_HOURS},
    ).fetchall()
    return {name: (retried, again) for name, retried, again in rows}


def _capped(connection: psycopg.Connection[Any], filter: JobFilter) -> GroupCounts:
    if filter.fingerprint is not None:
        return GroupCounts({filter.fingerprint: EXACT_UP_TO}, True)
    # First how many groups there are, then each up to its share.
    asked = {"groups": MOST_GROUPS, "most": 1}
    groups = len(connection.execute(statement("count_groups_capped"), asked).fetchall())
    most = max(1, EXACT_UP_TO // max(1, groups))
    rows = connection.execute(statement("count_groups_capped"), {**asked, "most": most}).fetchall()
    return GroupCounts(dict(rows), groups == MOST_GROUPS or any(jobs == most for _, jobs in rows))


def _of_types(connection: psycopg.Connection[Any], counts: GroupCounts, filter: JobFilter) -> GroupCounts:
    """Only the groups of some types: a fingerprint begins with its type, so any job of a group tells."""
    rows = connection.execute(
        "SELECT found.fingerprint, newest.job_type FROM unnest(%s::text[]) AS found (fingerprint)"
        " CROSS JOIN LATERAL (SELECT job_type FROM background_jobs WHERE status = 'failed'"
        " AND fingerprint = found.fingerprint ORDER BY fingerprint LIMIT 1) AS newest",
        [list(counts.jobs)],
    ).fetchall()
    wanted = {name: counts.jobs[name] for name, job_type in rows if job_type in filter.job_types}
    return GroupCounts(wanted, counts.capped)
