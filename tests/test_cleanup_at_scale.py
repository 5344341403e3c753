"""Job type `cleanup_old_data` with 200,000 old jobs: beside a worker that claims, killed in the middle, resumed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import Any

import psycopg
import pytest
from crm_rows import execute
from support import claimer, finish, value

from models import database as database_module
from models import registry
from models.claims import Claim
from models.settings import PROJECT_ROOT
from tests.running import until

OLD, CLAIMED_AT_ONCE = 200_000, 50
CLEAN = (
    "from models import registry\nclean = registry.load()['cleanup_old_data']\n"
    "clean.run(clean.payload(chunk_rows=1000))\n"
)
#: Another process's deletion that still goes on in the database.
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE state <> 'idle' AND query LIKE '%%WITH old AS MATERIALIZED%%' AND pid <> pg_backend_pid()
"""
WAITS = f"{OTHERS} AND wait_event_type = 'Lock'"
#: How many jobs go before the one whose failure somebody holds.
BEFORE_THE_HELD = 4_500


def clean(**payload: Any) -> dict[str, Any]:
    job_type = registry.load()["cleanup_old_data"]
    result = job_type.run(job_type.payload.model_validate(payload))
    assert isinstance(result, dict)
    return result


def count(where: str) -> int:
    return int(value(f"SELECT count(*) FROM background_jobs WHERE {where}"))


@pytest.fixture
def old_jobs(database: str) -> None:
    """200,000 that ended between 31 and 400 days ago, a tenth failed, and 3,000 that wait, as old."""
    execute(
        "INSERT INTO background_jobs (id, job_type, status, created_at, updated_at, completed_at)"
        " SELECT 'old' || n, 'note', CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'completed' END, ended, ended, ended"
        " FROM generate_series(1, %s) AS n,"
        " LATERAL (SELECT now() - make_interval(days => 31 + n %% 370) AS ended) AS age",
        OLD,
    )
    execute(
        "INSERT INTO background_jobs (id, job_type, created_at)"
        " SELECT 'new' || n, 'note', now() - interval '100 days' FROM generate_series(1, 3000) AS n"
    )
    with database_module.connect() as connection:
        connection.execute("ANALYZE background_jobs")


def test_killed_in_the_middle_it_goes_on_where_it_was_while_a_worker_claims(
    old_jobs: None, caplog: pytest.LogCaptureFixture
) -> None:
    enough = threading.Event()
    claimed: list[int] = []

    def work() -> None:
        claims = claimer(worker="worker-1", most=CLAIMED_AT_ONCE)
        while not enough.is_set():
            claim = claims.claim()
            if not isinstance(claim, Claim):
                return
            assert finish(claim) == []
            claimed.append(len(claim.jobs))

    execute(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)"
        " SELECT id, 'note', 1, 'Error', '', '' FROM background_jobs ORDER BY created_at OFFSET %s LIMIT 1",
        BEFORE_THE_HELD,
    )
    worker = threading.Thread(target=work)
    worker.start()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    first = subprocess.Popen([sys.executable, "-c", CLEAN], env=environment, cwd=PROJECT_ROOT)
    try:
        # In the middle of a chunk it waits for a row that somebody else has, and there it is killed.
        with psycopg.connect(database_module.database_url()) as other:
            other.execute("SELECT FROM job_failures FOR UPDATE")
            until(lambda: value(WAITS), what="the wait in the middle")
            first.kill()
            first.wait()
        until(lambda: not value(OTHERS), what="the end of the killed one's transaction")
        left = count("starts_with(id, 'old')")
        assert 0 < left < OLD

        with caplog.at_level(logging.INFO, logger="tasks.cleanup_old_data"):
            result = clean()
    finally:
        first.kill()
        enough.set()
        worker.join()

    assert result["jobs"] == left
    assert result["jobs_by_status"]["failed"] == pytest.approx(left / 10, rel=0.1)
    assert result["vacuum_hint"] == ["VACUUM (ANALYZE) background_jobs"]
    assert "VACUUM (ANALYZE) background_jobs" in caplog.text
    assert count("starts_with(id, 'old')") == 0
    # Nothing of what waited is gone, and the worker was never held up.
    assert count("true") == 3000 and count("status = 'completed'") == sum(claimed) >= CLAIMED_AT_ONCE


def test_asked_to_it_vacuums_what_lost_much(old_jobs: None) -> None:
    result = clean(vacuum=True)

    assert result["jobs"] == OLD and result["vacuumed"] == ["background_jobs"] and "vacuum_hint" not in result
    assert value("SELECT reltuples::int FROM pg_class WHERE relname = 'background_jobs'") == 3000
