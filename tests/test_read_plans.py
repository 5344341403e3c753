"""What every read of the dashboard costs at a million jobs: judged by plan nodes, rows and buffers, never by time.

The rows are made by SQL, once, in a database of their own (about 15 s). `python -m benchmarks reads` prints the times.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from own_database import own_database
from sqlalchemy import event
from support import query

from benchmarks import reads
from benchmarks.million import FAILED, GROUPS
from benchmarks.plans import Statement, explain, plans_of
from models import backlog, backlog_samples, bulk, database, error_groups, lookup, metrics, operations, paging
from models.filters import JobFilter
from models.operations import Actor
from models.reading import reading
from models.sql import statement

HOT = (
    "background_jobs", "job_failures", "retried_jobs", "audit_log", "bulk_actions", "payments", "backlog_samples",
)  # fmt: skip
#: What adds up the whole roll-up, by design: a year of it is some hundred thousand rows. A first scrape: its month.
WHOLE_ROLL_UP = {"get_stats", "scrape"}
NO_STATISTICS = """
SELECT pg_clear_relation_stats('public', relname::text) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i');
SELECT pg_clear_attribute_stats('public', relname::text, attname::text, false)
FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped;
"""

#: As autovacuum leaves them when it comes while the transaction of a load is open: so many pages and not one row. Until
#: it comes again (every 15 s, elsewhere every minute) the planner believes in one row.
OF_A_LOAD_UNDER_WAY = f"""{NO_STATISTICS}
SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', relname::text,
    'relpages', (pg_relation_size(oid) / 8192)::int, 'reltuples', 0::real)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 0;
"""
LOAD_UNDER_WAY = "of a load under way"
STATISTICS = {"fresh": "ANALYZE", "none": NO_STATISTICS, LOAD_UNDER_WAY: OF_A_LOAD_UNDER_WAY}


@pytest.fixture(scope="module", autouse=True)
def million(migrated: str) -> Iterator[None]:
    """A database with a million jobs as this process's DATABASE_URL; dropped afterwards."""
    with own_database(migrated, "read_plans"):
        reads.load()
        yield


@pytest.fixture(scope="module", params=list(STATISTICS), autouse=True)
def statistics(request: pytest.FixtureRequest, million: None) -> str:
    """What the planner knows of the tables."""
    query(STATISTICS[request.param])
    return str(request.param)


def _check(name: str, plans: list[Statement]) -> None:
    for plan in plans:
        for table in HOT:
            assert table not in plan.indexes_of(table), f"{name} scans {table}: {plan.text}"
        if name not in WHOLE_ROLL_UP:
            assert "job_metrics" not in plan.indexes_of("job_metrics"), f"{name} scans the roll-up: {plan.text}"


@pytest.mark.parametrize("name", list(reads.reads(datetime(2026, 1, 1, tzinfo=UTC))))
def test_every_read_goes_along_indexes_and_looks_at_a_bounded_number_of_rows(name: str) -> None:
    plans = plans_of(reads.reads(metrics.database_now())[name])

    assert plans
    _check(name, plans)
    # What is counted up to a bound, or the part of the roll-up that a period has.
    assert max(plan.most_rows for plan in plans) <= 2 * max(error_groups.EXACT_UP_TO, paging.EXAMINED)


@pytest.mark.parametrize(
    ("name", "buffers"),
    [
        ("page", 1_000), ("page of failed", 1_000), ("page of a group", 1_000), ("page of cancelled", 4_000),
        ("page of an old day", 1_000), ("next_scheduled", 100), ("oldest_pending", 10), ("workers", 200),
        ("audit", 50), ("audit_of", 50), ("audit_of a type, long ago", 50), ("series, an hour", 2_000), ("ages", 1_000),
        ("drain_time", 5_000), ("payments in doubt", 3_000),
        ("running of one type", 300), ("backlog_series, an hour", 200), ("backlog_series, a month", 5_000),
        ("backlog_at, a day ago", 50), ("backlog_at, a month ago", 50), ("backlog", 20_000),
        ("ages of one type", 1_000), ("ages of a priority", 1_000),
    ],
)  # fmt: skip
def test_a_look_at_a_few_rows_touches_a_few_buffers(name: str, buffers: int, statistics: str) -> None:
    plans = plans_of(reads.reads(metrics.database_now())[name])

    if statistics == LOAD_UNDER_WAY and name.startswith(("backlog_series", "backlog_at")):
        # Without rows both indexes of the samples look alike: the period's are read for all types, one buffer each and
        # 7 ms for a month. No load fills that table, so it is the bound of the rows that counts.
        assert max(plan.most_rows for plan in plans) <= 40_000
        return
    assert sum(plan.buffers for plan in plans) <= buffers


def test_the_newest_jobs_are_looked_up_by_their_ids() -> None:
    asked: list[Statement] = []

    def note(_1: object, _2: object, text: str, parameters: Any, *_: object) -> None:
        asked.append(Statement(text, parameters, 0.0, []))

    event.listen(database.engine(), "before_cursor_execute", note)
    try:
        found = lookup.newest_jobs(status="cancelled")
    finally:
        event.remove(database.engine(), "before_cursor_execute", note)
    with reading() as connection:
        plans = [explain(connection, each) for each in asked]

    (plan,) = plans
    assert plan.indexes_of("background_jobs") == {"background_jobs_pkey"}
    assert plan.most_rows <= len(found) == 20
    assert found == sorted(found, key=lambda job: (job.created_at, job.id), reverse=True)


def test_a_hundred_thousand_failed_jobs_are_counted_by_group_without_reading_one() -> None:
    plans = plans_of(error_groups.failed_groups)

    (counting,) = [plan for plan in plans if plan.most_rows >= FAILED]
    assert counting.tables == {"background_jobs"}
    assert {node["Node Type"] for node in counting.nodes if "Scan" in node["Node Type"]} <= {
        "Index Only Scan", "Subquery Scan"
    }  # fmt: skip
    frame = error_groups.failed_groups()
    assert (len(frame), int(frame["jobs"].sum())) == (GROUPS, FAILED)


def test_a_worker_samples_the_backlog_along_the_indexes() -> None:
    asked = {"whole": backlog_samples.WHOLE_COUNTED, "lanes": backlog_samples.LANES_COUNTED}
    with database.transaction() as connection:
        connection.execute(statement("along_the_indexes"))
        connection.execute("DELETE FROM backlog_samples WHERE bucket = date_trunc('minute', now())")
        text = statement("sample_backlog")
        first, again = (explain(connection, Statement(text, asked, 0.0, [])) for _ in range(2))
        raise psycopg.Rollback

    _check("sample_backlog", [first])
    assert first.most_rows <= max(asked.values())
    assert first.buffers <= 20_000
    assert again.buffers <= 50, "a minute that was sampled costs a probe"


def test_due_jobs_beyond_the_bound_are_estimated_from_a_bounded_sample(statistics: str) -> None:
    with reading() as connection:
        connection.execute(statement("along_the_indexes"))
        due = backlog.count_due(connection, most=50_000)
        # Of three pending jobs one is due, and they lie apart in the table. How many are pending the statistics say.
        assert due == (pytest.approx(100_000, rel=0.15) if statistics == "fresh" else 50_001)
        row = connection.execute("SELECT pg_relation_size('background_jobs') / 8192").fetchone()
        sampling = explain(connection, Statement(statement("due_share"), {"pages": 1_000}, 0.0, []))

    assert row is not None and row[0] > 10_000
    assert sampling.buffers <= 1_300


def test_a_group_is_retried_and_taken_back_amid_a_million() -> None:
    ann = Actor("ann", "operator")
    action_id, runner = bulk.create_bulk_retry(JobFilter(fingerprint="type_3:Error2:no answer"), 100.0, ann)
    *_, last = bulk.run_bulk(action_id, runner)

    assert last.done == last.total and last.done > 2000
    assert operations.undo(action_id, ann).done == last.done
