"""A standing worker goes from shift to shift: no gap, nothing twice, and nothing of the payloads is kept."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import httpx
import pytest

from flows.process_jobs import process_jobs
from flows.shifts import Shifts
from models import job_queue
from models.claims import ClaimedJob
from tests.running import PATIENCE, Rows, until

#: A batch of ten: nine let the next one begin, the last one is still at work when the shift is relieved.
BATCH = [{"type": "effect", "payload": {"seconds": seconds}} for seconds in [3.0] + [0.05] * 9]


def test_a_shift_begins_while_the_one_before_still_works(
    samples: Rows, prefect_api: str, configure: Callable[..., None]
) -> None:
    configure(JOB_QUEUE_CONCURRENCY=2, JOB_QUEUE_BATCH_SIZE=10)
    jobs: list[str] = []

    def three_have_claimed() -> bool:
        # However long a flow run takes to begin here: there is work until then.
        if samples.count("pending") < 100:
            jobs.extend(job_queue.add_batch(BATCH * 20))
        return bool(samples.one("SELECT count(DISTINCT flow_run_id) FROM background_jobs") >= 3)

    shifts = Shifts(["effect"], minutes=2 / 60)
    shifts.start()
    try:
        until(three_have_claimed, seconds=2 * PATIENCE, what="the third shift")
        until(lambda: samples.count("completed") == len(jobs), what="the end of all jobs")
        runs = samples.all(
            "SELECT flow_run_id AS id, min(started_at) AS first, max(completed_at) AS last, count(*) AS jobs"
            " FROM background_jobs GROUP BY flow_run_id ORDER BY first"
        )
        print([f"{run['jobs']} jobs in {(run['last'] - run['first']).total_seconds():.1f} s" for run in runs])
        # Idle, it changes shifts too.
        until(lambda: samples.one("SELECT flow_run_id FROM workers") != runs[-1]["id"], what="the next shift")
        one_more = job_queue.add_job(type="effect")
        until(lambda: samples.job(one_more)["status"] == "completed", what="the job")
    finally:
        assert shifts.stop() == 0

    assert samples.effects() == len(jobs) + 1
    assert samples.one("SELECT count(DISTINCT job_id) FROM scratch.effects") == len(jobs) + 1
    assert samples.one("SELECT count(DISTINCT worker_id) FROM background_jobs") == 1

    def ended(run: dict[str, Any]) -> dict[str, Any] | None:
        state = httpx.get(f"{prefect_api}/flow_runs/{run['id']}", timeout=PATIENCE).json()
        return state if state["state_type"] == "COMPLETED" else None

    states = {run["id"]: until(partial(ended, run), what="the end of a shift in Prefect") for run in runs}
    for earlier, later in zip(runs, runs[1:], strict=False):
        # Its successor claims before its last batch is through, and before Prefect has noted its end.
        assert later["first"] < earlier["last"]
        end = states[earlier["id"]]
        assert end is not None and later["first"] < datetime.fromisoformat(end["end_time"])


@pytest.mark.usefixtures("prefect_api")
def test_nothing_of_the_payloads_is_kept(samples: Rows) -> None:
    """Prefect keeps each task run's context until its events are sent; the batch in it is empty by then."""
    job_queue.add_batch([{"type": "returns", "payload": {"name": "x" * 50_000}}] * 300)
    assert process_jobs(drain=True).completed == 300
    gc.collect()
    kept = [found for found in gc.get_objects() if isinstance(found, ClaimedJob)]
    assert sum(len(job.payload or "") for job in kept) <= 50_100
