"""Stopping workers, with real signals: in time, with exit code 0, and every unfinished job back in the queue."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from flows.process_jobs import process_jobs
from models import job_queue
from models.rescue import rescue_lost_jobs
from tests.running import Process, Rows, process, ready, until, worker

pytestmark = pytest.mark.usefixtures("prefect_api")

GRACE = 2
#: What is promised: gone within the grace period and five seconds.
GONE = GRACE + 5
IN_CHILD = {"JOB_QUEUE_GRACE_PERIOD": str(GRACE)}
ENDED = {"COMPLETED", "CRASHED", "CANCELLED"}


def load(*job_types: str, jobs: int = 150, **payload: Any) -> None:
    for job_type in job_types:
        job_queue.add_batch([{"type": job_type, "payload": {"seconds": 60, **payload}}] * jobs)


def until_busy(rows: Rows, jobs: int) -> None:
    until(lambda: rows.count("processing") >= jobs, what="the load")


def assert_all_back(rows: Rows, job_type: str | None = None) -> None:
    """Every job (of the type) is pending, due at once, and nothing was counted against it."""
    states = rows.all(
        "SELECT DISTINCT status, retry_count, lost_count, worker_id, started_at, scheduled_for <= now() AS due"
        " FROM background_jobs WHERE %s::text IS NULL OR job_type = %s", job_type, job_type,
    )
    expected = {"retry_count": 0, "lost_count": 0, "worker_id": None, "started_at": None, "due": True}
    assert states == [{"status": "pending", **expected}]
    assert rows.one("SELECT count(*) FROM job_failures") == 0


def flow_run_states(rows: Rows, api: str) -> set[str]:
    """The states in Prefect of all flow runs whose names this test's jobs ever had."""
    found = rows.all("SELECT DISTINCT flow_run_id FROM background_jobs WHERE flow_run_id IS NOT NULL")
    runs = [row["flow_run_id"] for row in found]
    assert runs
    return {httpx.get(f"{api}/flow_runs/{run}", timeout=60).raise_for_status().json()["state_type"] for run in runs}


def _begun(rows: Rows, job_type: str) -> bool:
    begun = "SELECT count(*) FROM scratch.effects JOIN background_jobs ON id = job_id WHERE job_type = %s"
    return bool(rows.one(begun, job_type))


def stop(child: Process, *, again: bool = False) -> tuple[int, float]:
    """Sends SIGTERM, and more signals if `again`, which do no harm; the exit code and the seconds it took.

    Seconds in which the machine stood still, and this process with it, do not count.
    """
    more = [signal.SIGTERM, signal.SIGINT, signal.SIGTERM] if again else []
    child.send(signal.SIGTERM)
    seconds = 0.0
    while child.running:
        assert seconds < GONE + 10, child.output
        before = time.monotonic()
        time.sleep(0.05)
        seconds += min(time.monotonic() - before, 0.25)
        if more and seconds > 0.3 * (4 - len(more)):
            child.send(more.pop(0))
    return child.exit_code(), seconds


KINDS = {
    "interrupted": ("nap",),
    "ignoring it": ("stubborn", "block"),
    "blocking the loop": ("block_loop",),
}


@pytest.mark.parametrize("job_types", KINDS.values(), ids=KINDS)
def test_sigterm_under_load(samples: Rows, prefect_api: str, job_types: tuple[str, ...]) -> None:
    """Jobs that can be interrupted, that ignore it, block a thread, block the event loop: it makes no difference."""
    load(*job_types, jobs=75)
    with worker(*job_types, **IN_CHILD) as child:
        until_busy(samples, 75)
        for job_type in set(job_types) - {"nap"}:
            until(partial(_begun, samples, job_type), what=f"the start of {job_type}")
        code, seconds = stop(child, again=job_types == ("nap",))
        print(f"{job_types}: stopped after {seconds:.1f} s")
        assert code == 0, child.output
        assert seconds < GONE
        assert_all_back(samples)
        assert samples.one("SELECT count(*) FROM workers WHERE stopped_at IS NULL") == 0
        assert flow_run_states(samples, prefect_api) <= ENDED or "Prefect has not noted" in child.output
        assert "Traceback" not in child.output


def test_drain_lets_jobs_end_within_the_grace_period_and_waits_for_the_workers(samples: Rows) -> None:
    load("long_effect", jobs=20, seconds=10)
    load("nap", jobs=20)
    with worker("long_effect", "nap", JOB_QUEUE_GRACE_PERIOD="15") as child:
        until_busy(samples, 40)
        until(lambda: samples.effects(note="began") == 20, what="the jobs that will end")
        with process("-m", "deployments.cli", "drain", "--timeout", "60") as drain:
            assert drain.exit_code(within=90) == 0, drain.output
            assert ": stopped" in drain.output
        assert child.exit_code() == 0, child.output
    assert samples.count("completed", "long_effect") == samples.effects(note="done") == 20
    assert_all_back(samples, "nap")


def test_sigterm_to_the_flow_in_a_main_thread(samples: Rows, prefect_api: str) -> None:
    load("nap", "stubborn", "block", jobs=50)
    environment = {"JOB_QUEUE_MODULES": "tests.sample_processors", **IN_CHILD}
    with process("flows/process_jobs.py", **environment) as child:
        until_busy(samples, 150)
        code, seconds = stop(child)
        print(f"flow: stopped after {seconds:.1f} s")
        assert code in (0, -signal.SIGTERM), child.output
        assert seconds < GONE
        assert_all_back(samples)
        until(lambda: flow_run_states(samples, prefect_api) <= ENDED, what="the end")


def test_a_worker_that_slept_through_its_lease_finishes_nothing(samples: Rows, database: str) -> None:
    """SIGSTOP, the lease runs out (told to the database instead of waited for), others do the work, SIGCONT."""
    load("long_effect", jobs=30, seconds=10)
    with worker("long_effect", **IN_CHILD) as child:
        sleeper = ready(child, samples)
        until(lambda: samples.effects(note="began") == 30, what="the load")
        # It has found nothing more to do: no transaction of its own falls asleep with it and holds its row.
        until(lambda: samples.one("SELECT waiting FROM workers WHERE worker_id = %s", sleeper), what="its rest")
        child.send(signal.SIGSTOP)
        samples.all("UPDATE workers SET beat_at = now() - interval '31 seconds' WHERE worker_id = %s", sleeper)
        with psycopg.connect(database, autocommit=True) as connection:
            assert rescue_lost_jobs(connection) == 30
        assert process_jobs(drain=True).completed == 30
        before = samples.all("SELECT * FROM background_jobs ORDER BY id")
        child.send(signal.SIGCONT)
        # Its jobs end at once, or its first heartbeat interrupts them.
        until(
            lambda: samples.one("SELECT beat_at > now() - interval '5 seconds' FROM workers WHERE pid = %s", child.pid),
            what="the heartbeat",
        )
        time.sleep(1)
        refused = samples.one("SELECT count(*) FROM job_failures WHERE error_class = 'LeaseLost'")
        print(f"{refused} late finishes refused")
        code, _ = stop(child)
        assert code == 0, child.output
    assert samples.all("SELECT * FROM background_jobs ORDER BY id") == before
    assert {row["status"] for row in before} == {"completed"}
    assert {row["lost_count"] for row in before} == {1}
    assert sleeper not in {row["worker_id"] for row in before}
    assert samples.one("SELECT sum(completed) FROM job_metrics") == 30


@pytest.mark.parametrize("threads_end_after", [0, 12])
def test_a_job_that_ends_the_event_loop_ends_its_worker_and_is_counted(
    samples: Rows, database: str, threads_end_after: float
) -> None:
    """Counted as well when the loop takes longer to close than a job may be held without running (10 s)."""
    culprit = job_queue.add_job(
        type="ends_loop", payload={"kills": True, "seconds": 60, "threads_end_after": threads_end_after}
    )
    with worker("ends_loop", **IN_CHILD) as child:
        assert child.exit_code(within=120) == 1, child.output
        assert "the event loop has ended" in child.output
        assert samples.effects(note="began") == 1, "it ran again in the loop that it had ended"
    with psycopg.connect(database, autocommit=True) as connection:
        assert rescue_lost_jobs(connection) == 1
    assert (samples.job(culprit)["status"], samples.job(culprit)["lost_count"]) == ("pending", 1)

