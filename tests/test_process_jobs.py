"""The worker as a flow: what a drain does with every kind of job, and what Prefect sees of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from flows.process_jobs import process_jobs
from flows.shift import ShiftSummary
from models import job_queue
from tests.running import PATIENCE, Rows, process, ready, until, worker

pytestmark = pytest.mark.usefixtures("prefect_api")

HOUR_MS = 3_600_000


def add(type: str, jobs: int = 1, *, priority: int = 5, max_retries: int | None = None, **payload: Any) -> list[str]:
    job = {"type": type, "payload": payload, "priority": priority, "max_retries": max_retries}
    return job_queue.add_batch([job] * jobs)


def completed(rows: Rows, job_id: str) -> bool:
    return bool(rows.job(job_id)["status"] == "completed")


@contextmanager
def draining() -> Iterator[threading.Thread]:
    """`process_jobs` in the background; it must have ended by itself soon after the block."""
    thread = threading.Thread(target=process_jobs, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the drain did not end"


def found(api: str, path: str) -> dict[str, Any] | None:
    """What Prefect's API knows; None while it does not."""
    answer = httpx.get(f"{api}/{path}", timeout=PATIENCE)
    return answer.json() if answer.status_code == 200 else None


def asked(api: str, path: str, filter: dict[str, Any]) -> list[dict[str, Any]]:
    """What Prefect's API finds."""
    answer = httpx.post(f"{api}/{path}/filter", json={path: filter}, timeout=PATIENCE)
    listed: list[dict[str, Any]] = answer.json()
    return listed


# What a drain does.


def test_a_drain_runs_everything_and_counts_it(samples: Rows) -> None:
    add("noop", 120)
    add("fails", 4, times=1)
    add("fails", 2, times=99)
    add("fails", 1, times=1, permanently=True)
    summary = process_jobs(drain=True)
    assert isinstance(summary, ShiftSummary)
    assert summary.drained
    assert (summary.completed, summary.retried, summary.failed) == (124, 4 + 2 * 3, 2 + 1)
    assert samples.count("completed") == 124
    assert samples.count("failed") == 3
    assert summary.by_type["noop"].ended("completed") == 120


def test_an_empty_queue_is_drained_at_once(samples: Rows) -> None:
    summary = process_jobs(drain=True)
    assert summary.drained
    assert (summary.completed, summary.task_runs) == (0, 0)


def test_retries_wait_in_the_row_for_their_back_off(samples: Rows) -> None:
    (job_id,) = add("fails", times=2)
    process_jobs(drain=True)
    job = samples.job(job_id)
    assert (job["status"], job["retry_count"], job["result"], job["error_message"]) == ("completed", 2, "at last", None)
    assert [failure["attempt"] for failure in samples.failures(job_id)] == [1, 2]
    assert all(failure["error_class"] == "ConnectionError" for failure in samples.failures(job_id))
    began = [row["at"] for row in samples.all("SELECT at FROM scratch.effects ORDER BY at")]
    waited = [(later - earlier).total_seconds() for earlier, later in zip(began, began[1:], strict=False)]
    assert waited[0] >= 0.1 and waited[1] >= 0.2


def test_the_last_attempt_fails_for_good_and_keeps_its_history(samples: Rows) -> None:
    (job_id,) = add("fails", times=99)
    process_jobs(drain=True)
    job = samples.job(job_id)
    assert (job["status"], job["retry_count"]) == ("failed", 3)
    assert job["error_message"] == f"attempt 4 of job {job_id}"
    assert [failure["attempt"] for failure in samples.failures(job_id)] == [1, 2, 3, 4]
    assert "ConnectionError" in samples.failures(job_id)[0]["traceback"]


def test_a_permanent_error_is_not_retried(samples: Rows) -> None:
    (job_id,) = add("fails", times=99, permanently=True)
    process_jobs(drain=True)
    assert (samples.job(job_id)["status"], samples.job(job_id)["retry_count"]) == ("failed", 0)
    assert [failure["error_class"] for failure in samples.failures(job_id)] == ["PermanentError"]


def test_the_rows_max_retries_wins_over_the_types(samples: Rows) -> None:
    (never,) = add("fails", times=1, max_retries=0)
    (more,) = add("fails", times=5, max_retries=5)
    process_jobs(drain=True)
    assert (samples.job(never)["status"], samples.job(never)["retry_count"]) == ("failed", 0)
    assert (samples.job(more)["status"], samples.job(more)["retry_count"]) == ("completed", 5)


@pytest.mark.parametrize("type", ["too_long", "too_long_in_thread"])
def test_what_takes_longer_than_its_timeout_fails(samples: Rows, type: str) -> None:
    (slow,), (quick,) = add(type, seconds=20), add(type, seconds=0)
    process_jobs(drain=True)
    assert samples.job(slow)["status"] == "failed"
    assert samples.job(slow)["error_message"] == f"{type} took longer than its 3 s"
    assert samples.failures(slow)[0]["error_class"] == "TimeoutError"
    assert samples.job(quick)["status"] == "completed"


RAISED = {
    "SystemExit": "SystemExit",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "CancelledError": "CancelledError",
    "GeneratorExit": "GeneratorExit",
    "StopIteration": "RuntimeError",
    "NUL": "ValueError",
    "UnprintableError": "UnprintableError",
    "cancel": "CancelledError",
}


@pytest.mark.parametrize("type", ["raises", "raises_in_thread"])
def test_whatever_a_processor_raises_ends_its_own_job_only(samples: Rows, type: str) -> None:
    kinds = {what: error for what, error in RAISED.items() if type == "raises" or what != "cancel"}
    raising = {what: add(type, what=what)[0] for what in kinds}
    neighbours = add(type, 50, what="nothing")
    summary = process_jobs(drain=True)
    assert {what: samples.job(job_id)["status"] for what, job_id in raising.items()} == dict.fromkeys(kinds, "failed")
    assert {what: samples.failures(job_id)[0]["error_class"] for what, job_id in raising.items()} == kinds
    assert samples.count("completed") == len(neighbours)
    assert (summary.completed, summary.failed) == (len(neighbours), len(kinds))
    assert samples.job(raising["NUL"])["error_message"] == "a \\x00 and a lone \\ud800 surrogate"


def test_results_are_stored_odd_ones_too(samples: Rows) -> None:
    names = (
        "nothing", "dict", "model", "number", "set", "nan", "huge", "NUL", "surrogate", "large", "deep", "unreprable",
        "bytes",
    )
    jobs = {name: add("returns", name=name)[0] for name in names}
    process_jobs(drain=True)
    rows = {name: samples.job(job_id) for name, job_id in jobs.items()}
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(names, "completed")
    results = {name: row["result"] for name, row in rows.items()}
    assert results["nothing"] is None
    assert results["dict"] == {"a": [1, None, "ü"]}
    assert results["model"] == {"some_number": 7}
    assert results["number"] == 3.5
    assert results["set"] == "{1}"
    assert results["nan"] == "nan"
    assert "int" in results["huge"]
    assert "b" in str(results["NUL"]) and "b" in results["surrogate"]
    assert len(results["large"]["cut"]) == 1000
    assert "Unreprable" in results["unreprable"]


def test_a_payload_that_plain_sql_made_up_fails_for_good(samples: Rows) -> None:
    job_id = samples.one(
        "INSERT INTO background_jobs (job_type, payload) VALUES ('nap', '{\"seconds\": \"many\"}') RETURNING id"
    )
    process_jobs(drain=True)
    job = samples.job(job_id)
    assert (job["status"], job["retry_count"]) == ("failed", 0)
    assert job["error_message"].startswith("payload does not fit nap: seconds: ")


def test_a_type_that_nobody_knows_stays_untouched(samples: Rows) -> None:
    job_id = samples.one("INSERT INTO background_jobs (job_type) VALUES ('of_a_newer_version') RETURNING id")
    before = samples.job(job_id)
    process_jobs(drain=True)
    assert samples.job(job_id) == before


def test_a_drain_waits_for_the_jobs_of_other_workers(samples: Rows) -> None:
    samples.all("INSERT INTO workers (worker_id, host, pid, job_types) VALUES ('other', 'elsewhere', 1, '{noop}')")
    (job_id,) = add("noop")
    samples.all("UPDATE background_jobs SET status = 'processing', worker_id = 'other', started_at = now()")
    with draining() as drain:
        drain.join(3)
        assert drain.is_alive()
        samples.all("UPDATE background_jobs SET status = 'completed', completed_at = now() WHERE id = %s", job_id)


def test_a_straggler_does_not_hold_up_the_others(samples: Rows, configure: Callable[..., None]) -> None:
    configure(JOB_QUEUE_CONCURRENCY=1, JOB_QUEUE_BATCH_SIZE=50)
    # One slot: its first batch has the straggler, which ends only after those of all other batches.
    (straggler,) = add("goes_last", priority=10, others=400)
    add("goes_last", 400, others=0)
    process_jobs(drain=True)
    assert samples.job(straggler)["error_message"] is None
    assert samples.count("completed") == 401


# While it runs.


def test_progress_is_seen_while_the_job_runs(samples: Rows) -> None:
    (job_id,) = add("progresses")
    with draining():
        seen = until(lambda: row if (row := samples.job(job_id))["progress"] else None, what="progress")
        assert seen["status"] == "processing"
        assert 0 < seen["progress"] < 1
        assert seen["progress_note"].endswith("of 10")
        samples.all("INSERT INTO scratch.effects (job_id, attempt, pid, note) VALUES (%s, 1, 0, 'go on')", job_id)
    assert (samples.job(job_id)["status"], samples.job(job_id)["progress"]) == ("completed", 1)


@pytest.mark.parametrize("type", ["long_effect", "block"])
def test_a_running_job_is_cancelled(samples: Rows, type: str) -> None:
    """An `async def` is interrupted; a `def` runs on in its thread, and nobody waits for it."""
    (job_id,) = add(type, seconds=40 if type == "block" else 3600)
    with draining() as drain:
        until(lambda: samples.effects(job_id, "began"), what="the job's start")
        assert job_queue.cancel_job(job_id)
        drain.join(30)
        assert not drain.is_alive()
    assert samples.job(job_id)["status"] == "cancelled"
    assert samples.effects(job_id, "done") == 0


def test_a_cancelled_job_that_is_retried_runs_again(samples: Rows) -> None:
    (job_id,) = add("long_effect", seconds=3600)
    # Between the cancellation and the retry nothing else would be left, and the drain might end.
    (other,) = add("nap", seconds=3600)
    with draining():
        until(lambda: samples.effects(job_id, "began"), what="the job's start")
        assert job_queue.cancel_job(job_id)
        assert job_queue.retry_job(job_id)
        until(lambda: samples.effects(job_id, "began") == 2, what="the second start")
        assert job_queue.cancel_job(job_id) and job_queue.cancel_job(other)


def test_plain_sql_wakes_an_idle_worker(samples: Rows) -> None:
    """The poll interval is an hour: it is the notification that does it."""
    with worker("noop", JOB_QUEUE_POLL_INTERVAL=str(HOUR_MS)) as child:
        worker_id = ready(child, samples)
        until(lambda: samples.one("SELECT waiting FROM workers WHERE worker_id = %s", worker_id), what="idleness")
        time.sleep(3)  # past the second looks of a worker that has just gone idle
        for _ in range(3):
            job_id = samples.one("INSERT INTO background_jobs (job_type) VALUES ('noop') RETURNING id")
            until(partial(completed, samples, job_id), what="the job")


def test_an_idle_worker_says_again_that_it_waits_when_the_server_has_forgotten(samples: Rows) -> None:
    """`waiting` is committed without waiting for the disk: a crash of the server may lose it, and ends the LISTEN."""
    with worker("noop", JOB_QUEUE_POLL_INTERVAL=str(HOUR_MS)) as child:
        worker_id = ready(child, samples)
        waits = partial(samples.one, "SELECT waiting FROM workers WHERE worker_id = %s", worker_id)
        until(waits, what="idleness")
        samples.all("UPDATE workers SET waiting = false")
        samples.all(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dirtfree-jobs wake-up'"
        )
        until(waits, seconds=30, what="idleness, again")
        job_id = samples.one("INSERT INTO background_jobs (job_type) VALUES ('noop') RETURNING id")
        until(partial(completed, samples, job_id), seconds=15, what="the job")


NOTEBOOK = """
import asyncio, time
from models import job_queue
from tests.sample_processors import effect

def run_some(jobs):
    job_queue.start_polling()
    job_queue.start_polling()
    before = job_queue.get_stats().completed
    job_queue.add_batch([{"type": "effect"}] * jobs)
    deadline = time.monotonic() + 60
    while job_queue.get_stats().completed < before + jobs and time.monotonic() < deadline:
        yield
    assert job_queue.get_stats().completed == before + jobs, job_queue.get_stats()
    job_queue.stop_polling()
    job_queue.stop_polling()

async def cell():
    for _ in run_some(100):
        await asyncio.sleep(0.05)

for _ in run_some(100):
    time.sleep(0.05)
asyncio.run(cell())
print("all done")
"""


def test_polling_in_a_notebook_starts_stops_and_starts_again(samples: Rows) -> None:
    """In a plain script, then under a running event loop, as a notebook's cells are."""
    with process("-c", NOTEBOOK, JOB_QUEUE_POLL_INTERVAL=str(HOUR_MS)) as notebook:
        assert notebook.exit_code(within=4 * PATIENCE) == 0, notebook.output
        assert "all done" in notebook.output
        assert "Traceback" not in notebook.output
    assert samples.effects(note="done") == 200
    assert samples.one("SELECT count(*) FROM workers WHERE stopped_at IS NULL") == 0


# What Prefect sees.


def test_rows_lead_to_their_runs_and_runs_say_what_they_carry(
    samples: Rows, prefect_api: str, configure: Callable[..., None]
) -> None:
    configure(JOB_QUEUE_BATCH_SIZE=50)
    for priority in range(7, 11):
        add("noop", 12 if priority < 10 else 14, priority=priority)
    summary = process_jobs(drain=True)
    runs = samples.all("SELECT DISTINCT flow_run_id, task_run_id FROM background_jobs")
    assert len(runs) == summary.task_runs == 1
    flow_run = found(prefect_api, f"flow_runs/{runs[0]['flow_run_id']}")
    assert flow_run is not None and flow_run["state_type"] == "COMPLETED"

    def ended() -> dict[str, Any] | None:
        run = found(prefect_api, f"task_runs/{runs[0]['task_run_id']}")
        return run if run and run["state_type"] == "COMPLETED" else None

    task_run = until(ended, what="the end of the task run")
    assert task_run["name"] == "noop × 50, priority 10-7"
    assert task_run["flow_run_id"] == runs[0]["flow_run_id"]

    (artifact,) = asked(prefect_api, "artifacts", {"flow_run_id": {"any_": [flow_run["id"]]}})
    assert (artifact["key"], artifact["type"]) == ("shift", "table")
    assert '"job type": "noop"' in artifact["data"] and '"completed": 50' in artifact["data"]


def test_a_task_run_whose_jobs_all_failed_is_failed_in_prefect(samples: Rows, prefect_api: str) -> None:
    (job_id,) = add("raises", what="boom")
    process_jobs(drain=True)

    def state() -> Any:
        run = found(prefect_api, f"task_runs/{samples.job(job_id)['task_run_id']}")
        return run["state"] if run and run["state_type"] == "FAILED" else None

    assert until(state, what="the failed task run")["message"] == "1 failed"


def test_a_processor_has_prefects_logger_and_runtime(samples: Rows, prefect_api: str) -> None:
    (told,), (told_in_thread,) = add("told"), add("told_in_thread")
    process_jobs(drain=True)
    for job_id in (told, told_in_thread):
        job = samples.job(job_id)
        assert job["status"] == "completed", job["error_message"]
        assert job["result"]["job"] == job_id
        assert job["result"]["flow_run"] == job["flow_run_id"]
        assert job["result"]["task_run"] == job["task_run_id"]
    assert samples.job(told)["result"]["flow"] == "process-jobs"
    assert samples.job(told)["result"]["attempt"] == 1

    def logged() -> set[str]:
        runs = [samples.job(job_id)["task_run_id"] for job_id in (told, told_in_thread)]
        return {line["message"] for line in asked(prefect_api, "logs", {"task_run_id": {"any_": runs}})}

    expected = {"from an async processor", "from a def processor"}
    until(lambda: logged() >= expected, what="the log lines")
