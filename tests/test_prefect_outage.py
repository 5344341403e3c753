"""Prefect's server dies and stays away: jobs go on, workers stop in time, and go back to Prefect when it is there."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from models import job_queue
from models.settings import settings
from tests.ports import unused_port
from tests.running import Process, Rows, process, ready, until

#: The promise is two minutes; SLOW_TESTS=1 takes them.
OUTAGE_SECONDS = 120 if os.environ.get("SLOW_TESTS") else 40
#: Ten times what a job takes: who stops lets the jobs that run end.
GRACE = 5
#: `jobs worker` with shifts of six seconds, so that some end and begin in the outage.
SHORT_SHIFTS = "from deployments.worker_command import run_worker; run_worker({types}, minutes=0.1)"


class OwnServer:
    """A Prefect server of one test, on the state that the shared one has made by now (a new one takes 20 s more)."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = unused_port()
        self.api_url = f"http://127.0.0.1:{self._port}/api"
        self._process: Process | None = None
        shared = settings().data_dir / "prefect" / "prefect.db"
        with closing(sqlite3.connect(shared)) as source, closing(sqlite3.connect(home / "prefect.db")) as copy:
            source.backup(copy)

    def start(self) -> None:
        self._process = Process(
            ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)],
            {"PREFECT_HOME": str(self._home), "PREFECT_API_URL": self.api_url},
        )
        until(self.answers, seconds=120, what="the start of Prefect's server", every=0.2)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


@pytest.fixture
def server(tmp_path: Path, prefect_api: str) -> Iterator[OwnServer]:
    own = OwnServer(tmp_path)
    try:
        yield own
    finally:
        own.kill()


def test_prefects_server_is_killed_and_stays_away(samples: Rows, server: OwnServer) -> None:
    server.start()
    environment = {
        "PREFECT_API_URL": server.api_url,
        "JOB_QUEUE_MODULES": "tests.sample_processors",
        "JOB_QUEUE_CONCURRENCY": "1",
        "JOB_QUEUE_BATCH_SIZE": "10",
        "JOB_QUEUE_GRACE_PERIOD": str(GRACE),
    }

    def start(types: tuple[str, ...]) -> Process:
        return children.enter_context(process("-c", SHORT_SHIFTS.format(types=types), **environment))

    with ExitStack() as children:
        jobs = job_queue.add_batch([{"type": "effect", "payload": {"seconds": 0.5}}] * 150 * (OUTAGE_SECONDS + 60))
        stopped_meanwhile, lives_through = start(("effect",)), start(("effect",))
        workers = {child: ready(child, samples) for child in (stopped_meanwhile, lives_through)}

        def completed(child: Process) -> int:
            return int(
                samples.one(
                    "SELECT count(*) FROM background_jobs WHERE status = 'completed' AND worker_id = %s", workers[child]
                )
            )

        for child in workers:
            until(lambda child=child: completed(child) >= 10, what="the first jobs")
        server.kill()
        outage_ends = time.monotonic() + OUTAGE_SECONDS
        runs_before = {row["flow_run_id"] for row in samples.all("SELECT DISTINCT flow_run_id FROM background_jobs")}
        begins_late = start(("noop",))
        late_job = job_queue.add_job(type="noop")

        # Each worker gets on with its jobs all the time, and each job is done once.
        while time.monotonic() < outage_ends:
            before = {child: completed(child) for child in workers}
            time.sleep(4)
            for child, done in before.items():
                # Mostly at once; the machine may have been at other things.
                until(lambda child=child, done=done: completed(child) > done, seconds=20, what="the next jobs")
        ready(begins_late, samples)
        assert samples.job(late_job)["status"] == "pending"

        # One is stopped while it is away.
        sent = stopped_meanwhile.send(signal.SIGTERM)
        assert stopped_meanwhile.exit_code(within=GRACE + 5) == 0
        print(f"stopped in the outage after {time.monotonic() - sent:.1f} s")
        assert (
            samples.one(
                "SELECT count(*) FROM background_jobs WHERE status = 'processing' AND worker_id = %s",
                workers[stopped_meanwhile],
            )
            == 0
        )

        # The others find it when it is back.
        server.start()
        until(lambda: samples.job(late_job)["status"] == "completed", what="the start of the late one")

        def new_runs() -> set[str]:
            found = samples.all("SELECT DISTINCT flow_run_id FROM background_jobs WHERE job_type = 'effect'")
            return {row["flow_run_id"] for row in found if row["flow_run_id"]} - runs_before

        until(lambda: len(new_runs()) >= 2, what="the next shifts")
        sent = lives_through.send(signal.SIGTERM)
        assert lives_through.exit_code(within=GRACE + 5) == 0
        print(f"stopped afterwards after {time.monotonic() - sent:.1f} s", lives_through.output)

    assert samples.one("SELECT count(*) FROM job_failures") == 0
    assert samples.one("SELECT max(lost_count) FROM background_jobs") == 0
    done = samples.count("completed", "effect")
    assert samples.effects(note="done") == done == samples.one("SELECT count(DISTINCT job_id) FROM scratch.effects")
    assert done < len(jobs), "the load ran out, and with it the test"
