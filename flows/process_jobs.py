"""The worker as a Prefect flow: `process_jobs` is one shift on the queue."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import PositiveFloat

from flows.shift import SHIFT_MINUTES, Shift, ShiftSummary
from flows.worker import Worker
from tasks.tally import Tally

#: The worker whose shift this is, when `flows.shifts` runs it; without one the flow makes its own.
standing_worker: ContextVar[Worker | None] = ContextVar("standing_worker", default=None)
#: Told of the shift as soon as it begins to claim.
on_shift: ContextVar[Any] = ContextVar("on_shift", default=None)


# No bound on the runner's threads: the worker's slots bound the batches, and stragglers need threads of their own.
@flow(name="process-jobs", task_runner=ThreadPoolTaskRunner(max_workers=sys.maxsize), persist_result=False)  # type: ignore[arg-type]
def process_jobs(drain: bool = True, minutes: PositiveFloat = SHIFT_MINUTES) -> ShiftSummary:
    """Takes due jobs, the most urgent first, runs them in batches, and records every outcome.

    With `drain` it ends when nothing is left: no job of a known type is running anywhere, none is due within a minute.
    Else, and at the latest, it ends after `minutes`. Several of these may run at once, on as many machines as you like.
    """
    worker = standing_worker.get()
    # For this shift only: a processor that runs this flow gets a worker of its own.
    standing_worker.set(None)
    if worker is not None:
        return _shift(worker, drain=drain, minutes=minutes, handover=True)
    worker = Worker()
    with _stopped_by_signals(worker):
        try:
            worker.start()
            return _shift(worker, drain=drain, minutes=minutes, handover=False)
        finally:
            worker.stop()


def _shift(worker: Worker, *, drain: bool, minutes: float, handover: bool) -> ShiftSummary:
    flow_run_id = str(flow_run.id) if flow_run.id else None
    shift = Shift(
        worker,
        lambda batch: batch.job_type.batch_task.submit(batch),
        flow_run_id=flow_run_id,
        drain=drain,
        minutes=minutes,
        handover=handover,
    )
    worker.lease.flow_run_id = flow_run_id
    begun = on_shift.get()
    if begun is not None:
        begun(shift)
    shift.claim_until_done()
    summary = shift.wait()
    get_run_logger().info("%s", summary)
    _publish(summary)
    return summary


def _publish(summary: ShiftSummary) -> None:
    """The shift's table in Prefect's UI. Best effort: the API may be away, and the roll-up has the same figures."""
    rows = [_row(name, tally) for name, tally in sorted(summary.by_type.items())]
    if not rows:
        return
    try:
        create_table_artifact(rows, key="shift", description=f"{summary}")
    except (httpx.HTTPError, OSError) as error:
        get_run_logger().warning("the shift's artifact was not written, Prefect's API does not answer: %s", error)


def _row(name: str, tally: Tally) -> dict[str, Any]:
    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.3f} s"

    return {
        "job type": name,
        "completed": tally.ended("completed"),
        "retried": tally.ended("retried"),
        "failed": tally.ended("failed"),
        "p50 run": seconds(tally.run_quantile(0.5)),
        "p95 run": seconds(tally.run_quantile(0.95)),
        "p50 wait": seconds(tally.wait_quantile(0.5)),
        "p95 wait": seconds(tally.wait_quantile(0.95)),
    }


@contextmanager
def _stopped_by_signals(worker: Worker) -> Iterator[None]:
    """On SIGTERM, stops the worker instead of raising at an arbitrary line; Prefect's own handler has its turn after.

    `prefect flow-run cancel` and a stopping `prefect worker` send it to the flow's process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append((number, frame))
        # Not from here: the main thread may hold the very lock that the call needs.
        threading.Thread(target=worker.stop, daemon=True).start()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if received and callable(before):
            before(*received[0])


if __name__ == "__main__":
    print(process_jobs())
