"""PostgreSQL dies or hangs under a worker: nothing is lost or done twice, and the worker stops in time all the same."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from models.embedded import EmbeddedPostgres
from models.schema import ensure_schema
from tests import sample_processors
from tests.running import Rows, ready, until, worker

pytestmark = pytest.mark.usefixtures("prefect_api")

GRACE = 2
JOBS = 600


class OwnDatabase:
    """A cluster of one test, to be killed."""

    def __init__(self, folder: Path) -> None:
        self._postgres = EmbeddedPostgres(folder)
        self.start()
        ensure_schema(self.url, upgrade=True)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sample_processors.SCRATCH)

    @property
    def url(self) -> str:
        return self._postgres.url

    def start(self) -> None:
        self._postgres.start()

    def stop(self) -> None:
        self._postgres.stop()

    def postmaster(self) -> psutil.Process:
        with psycopg.connect(self.url) as connection:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            postmaster = psutil.Process(pid).parent()
        assert postmaster is not None
        return postmaster

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stops all its processes meanwhile."""
        # The postmaster first: it must not make another one while the others are being stopped.
        stopped = [self.postmaster()]
        try:
            stopped[0].suspend()
            until(lambda: stopped[0].status() == psutil.STATUS_STOPPED, what="the postmaster's stop")
            stopped += stopped[0].children()
            _to_each(stopped[1:], psutil.Process.suspend)
            yield
        finally:
            _to_each(stopped, psutil.Process.resume)

    def fill(self, job_type: str, jobs: int, seconds: float) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO background_jobs (job_type, payload)"
                " SELECT %s, jsonb_build_object('seconds', %s::float8) FROM generate_series(1, %s)",
                [job_type, seconds, jobs],
            )


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnDatabase]:
    database = OwnDatabase(tmp_path)
    try:
        yield database
    finally:
        database.stop()


def test_a_database_that_is_killed_under_load_costs_no_job(own: OwnDatabase) -> None:
    own.fill("nap", JOBS, seconds=1.5)
    with worker("nap", DATABASE_URL=own.url) as child:
        rows = Rows(own.url)
        ready(child, rows)
        until(lambda: rows.count("completed") >= 100, what="the first jobs")
        own.postmaster().send_signal(signal.SIGKILL)
        rows.close()
        time.sleep(4)  # what runs ends meanwhile
        own.start()
        rows = Rows(own.url)
        until(lambda: rows.count("completed") == JOBS, seconds=120, what="the end of all jobs")
        # What ended in the outage was written down after it, and not done again.
        assert rows.one("SELECT sum(completed) FROM job_metrics") == JOBS
        assert rows.one("SELECT sum(lost + failed + retried) FROM job_metrics") == 0
        child.send(signal.SIGTERM)
        assert child.exit_code(within=30) == 0, child.output
        rows.close()


def _to_each(processes: Iterable[psutil.Process], signal_it: Callable[[psutil.Process], None]) -> None:
    for each in processes:
        # A backend may have been at its end, and only waited for its parent to see it.
        with suppress(psutil.NoSuchProcess):
            signal_it(each)


def test_a_worker_stops_in_time_while_the_database_hangs(own: OwnDatabase) -> None:
    own.fill("nap", JOBS, seconds=60)
    with worker("nap", DATABASE_URL=own.url, JOB_QUEUE_GRACE_PERIOD=str(GRACE)) as child:
        rows = Rows(own.url)
        ready(child, rows)
        until(lambda: rows.count("processing") >= 150, what="the load")
        with own.hanging():
            sent = child.send(signal.SIGTERM)
            code = child.exit_code(within=GRACE + 5)
            print(f"stopped after {time.monotonic() - sent:.1f} s")
            assert code == 0, child.output
        # Nobody could be told: the lease will give them back.
        assert rows.count("processing") == 150
        assert rows.one("SELECT count(*) FROM workers WHERE stopped_at IS NULL") == 1
        rows.close()
