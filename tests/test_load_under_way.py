"""Autovacuum that comes while a load's transaction is open counts pages and not one row; the planner believes it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from own_database import own_database
from running import until
from support import Note, job_type, known, value

from flows.testing import run_due_jobs
from models import database as databases
from models import job_queue
from models.appointments import queue_reminders, queue_review_requests
from models.opportunities import open_opportunities

JOBS = 5_000
READ_BY_ID = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'background_jobs_pkey'"
CUSTOMERS = 4_000
IMPORT = (
    "INSERT INTO customers (id, name, email)"
    f" SELECT 'c-' || n, 'Ann', 'ann@example.com' FROM generate_series(1, {CUSTOMERS}) AS n",
    "INSERT INTO opportunities (id, customer_id, title)"
    f" SELECT 'o-' || n, 'c-' || n, 'Rug' FROM generate_series(1, {CUSTOMERS}) AS n",
    "INSERT INTO appointments (id, customer_id, service, starts_at, status, completed_at)"
    " SELECT 'a-' || n, 'c-' || n, 'Rug', now() + interval '2 days', 'scheduled', NULL"
    f" FROM generate_series(1, {CUSTOMERS}, 2) AS n",
    "INSERT INTO appointments (id, customer_id, service, starts_at, status, completed_at)"
    " SELECT 'a-' || n, 'c-' || n, 'Rug', now() - interval '2 days', 'completed', now() - interval '2 days'"
    f" FROM generate_series(2, {CUSTOMERS}, 2) AS n",
)
CUSTOMERS_READ = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'customers'"


async def nothing(payload: Note) -> None:
    """A processor that has nothing to do."""


@pytest.fixture
def own(database: str, migrated: str) -> Iterator[str]:
    """An empty database. In that of all tests a connection of an earlier one may report late what it has read."""
    with own_database(migrated, "load_under_way") as url:
        yield url


def test_jobs_of_a_load_that_was_analysed_halfway_are_claimed_and_finished_by_their_ids(own: str) -> None:
    with known(job_type("note", run=nothing)), psycopg.connect(own, autocommit=True) as autovacuum:
        with databases.session() as session:
            job_queue.add_batch([{"type": "note"}] * JOBS, session=session)
            autovacuum.execute("ANALYZE background_jobs")
            known_to_the_planner = value("SELECT reltuples FROM pg_class WHERE relname = 'background_jobs'")
            session.commit()
        assert known_to_the_planner == 0
        before = value(READ_BY_ID)
        tallies = run_due_jobs("note")
        databases.renew()  # connections report what they have read when they close, at the latest

        assert tallies["note"].ended("completed") == JOBS
        read = until(lambda: (found := value(READ_BY_ID) - before) >= 2 * JOBS and found, what="the report")
        # Of each job a few versions, each time; who walks along the index meets those of all jobs.
        assert read <= 10 * JOBS


def test_what_schedules_look_for_after_an_import_that_was_analysed_halfway_is_looked_up_by_id(own: str) -> None:
    with psycopg.connect(own) as importing, psycopg.connect(own, autocommit=True) as autovacuum:
        for each in IMPORT:
            importing.execute(each.encode())
        autovacuum.execute("ANALYZE")
        importing.commit()
    before = value(CUSTOMERS_READ)

    assert len(open_opportunities(CUSTOMERS)) == CUSTOMERS
    assert queue_reminders(hours=72, dry_run=True).appointments
    assert queue_review_requests(dry_run=True).appointments
    databases.renew()  # connections report what they have read when they close, at the latest
    read = until(lambda: (found := value(CUSTOMERS_READ) - before) >= CUSTOMERS and found, what="the report")
    assert read <= 4 * CUSTOMERS
