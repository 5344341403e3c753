"""Autovacuum that comes while a load's transaction is open counts pages and not one row; the planner believes it."""

from __future__ import annotations

import psycopg
from running import until
from support import Note, job_type, known, value

from flows.testing import run_due_jobs
from models import database as databases
from models import job_queue

JOBS = 5_000
READ_BY_ID = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'background_jobs_pkey'"


async def nothing(payload: Note) -> None:
    """A processor that has nothing to do."""


def test_jobs_of_a_load_that_was_analysed_halfway_are_claimed_and_finished_by_their_ids(database: str) -> None:
    with known(job_type("note", run=nothing)), psycopg.connect(database, autocommit=True) as autovacuum:
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
