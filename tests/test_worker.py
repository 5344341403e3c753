"""The worker's slots: none is lost, whatever becomes of a task run; a dangerous job has the worker to itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from flows.process_jobs import process_jobs
from flows.shift import Shift
from flows.worker import Worker
from models import job_queue
from tasks.batch import Batch
from tests.running import PATIENCE, Rows, until


@pytest.fixture
def worker(samples: Rows, configure: Callable[..., None]) -> Iterator[Worker]:
    """A worker with one slot for ten jobs."""
    configure(JOB_QUEUE_CONCURRENCY=1, JOB_QUEUE_BATCH_SIZE=10)
    started = Worker(["noop", "effect"])
    started.start()
    try:
        yield started
    finally:
        started.stop(grace=0)


def in_a_thread(batch: Batch) -> Future[Any]:
    """Runs a batch without Prefect."""
    future: Future[Any] = Future()

    def run() -> None:
        batch.run()
        future.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return future


def test_a_task_run_that_crashes_before_it_begins_costs_neither_jobs_nor_the_slot(
    samples: Rows, worker: Worker
) -> None:
    crashes = 5

    def submit(batch: Batch) -> Future[Any]:
        nonlocal crashes
        if not crashes:
            return in_a_thread(batch)
        crashes -= 1
        future: Future[Any] = Future()
        future.set_exception(RuntimeError("Prefect could not begin"))
        return future

    jobs = job_queue.add_batch([{"type": "noop"}] * 30)
    shift = Shift(worker, submit, flow_run_id=None, drain=True)
    shift.claim_until_done()
    assert shift.wait().completed == len(jobs)
    assert crashes == 0
    assert samples.all("SELECT DISTINCT status, retry_count, lost_count FROM background_jobs") == [
        {"status": "completed", "retry_count": 0, "lost_count": 0}
    ]


def test_a_submission_that_fails_ends_the_shift_and_gives_the_jobs_back(samples: Rows, worker: Worker) -> None:
    def submit(batch: Batch) -> Future[Any]:
        raise RuntimeError("cannot schedule new futures after shutdown")

    job_queue.add_batch([{"type": "noop"}] * 30)
    with pytest.raises(RuntimeError, match="cannot schedule"):
        Shift(worker, submit, flow_run_id=None, drain=True).claim_until_done()
    assert worker.slots.empty
    assert samples.count("pending") == 30


def test_a_job_that_was_taken_away_and_is_claimed_again_runs_once_here(
    samples: Rows, configure: Callable[..., None]
) -> None:
    configure(JOB_QUEUE_CONCURRENCY=2)
    (job_id,) = job_queue.add_batch([{"type": "long_effect", "payload": {"seconds": 3600}}])
    worker = Worker(["long_effect"])
    worker.start()
    try:
        first = worker.claim(None)
        assert isinstance(first, Batch)
        ran = in_a_thread(first)
        until(lambda: samples.effects(job_id, "began"), what="the first start")
        # As another worker's rescue leaves it, when this one has stalled.
        samples.all("UPDATE background_jobs SET status = 'pending', worker_id = NULL, started_at = NULL")
        second = worker.claim(None)
        assert isinstance(second, Batch)
        in_a_thread(second)

        ran.result(timeout=PATIENCE)

        until(lambda: samples.effects(job_id, "began") == 2, what="the second start")
        worker.ended(first)
        assert (samples.job(job_id)["status"], second.held_jobs()) == ("processing", [job_id])
    finally:
        worker.stop(grace=0)


@pytest.mark.usefixtures("prefect_api")
def test_a_job_that_was_lost_twice_runs_alone(samples: Rows) -> None:
    job_queue.add_batch([{"type": "long_effect", "payload": {"seconds": 0.3}}] * 300)
    (suspect,) = job_queue.add_batch([{"type": "long_effect", "payload": {"seconds": 0.5}, "priority": 8}])
    samples.all("UPDATE background_jobs SET lost_count = 2 WHERE id = %s", suspect)
    job_queue.add_batch([{"type": "long_effect", "payload": {"seconds": 0.3}, "priority": 9}] * 20)
    assert process_jobs(drain=True).completed == 321
    beside = samples.one(
        "SELECT count(*) FROM scratch.effects AS other, ("
        "  SELECT min(at) AS began, max(at) AS ended FROM scratch.effects WHERE job_id = %s) AS suspect"
        " WHERE other.job_id <> %s AND other.at BETWEEN suspect.began AND suspect.ended",
        suspect, suspect,
    )
    assert beside == 0
