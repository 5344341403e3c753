"""The guide's own arithmetic, measured: items that each wait, through the queue, beside sequential and the ideal."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.surroundings import configure, empty
from deployments.output import duration, print_table
from flows.process_jobs import process_jobs
from models import job_queue
from tasks import batch_process

#: Sequential is measured on this many items and multiplied: the guide's 1,000 e-mails would take over eight minutes.
SEQUENTIAL_SAMPLE = 10


@dataclass(frozen=True)
class Workload:
    name: str
    items: int
    seconds: float
    concurrency: int
    batch_size: int

    @property
    def ideal(self) -> float:
        return self.items * self.seconds / (self.concurrency * self.batch_size)


WORKLOADS = (
    Workload("100 items of 200 ms, batch 50", 100, 0.2, 1, 50),
    Workload("1,000 e-mails of 500 ms, batch 50", 1000, 0.5, 1, 50),
    Workload("500 opportunities of 300 ms, 3 batches of 50", 500, 0.3, 3, 50),
)


def measure() -> None:
    """Prints the guide's three workloads."""
    rows = []
    for workload in WORKLOADS:
        queue = _through_the_queue(workload)
        batch = _batch_process(workload)
        sequential = _sequential(workload)
        rows.append(
            (
                workload.name, duration(sequential), duration(workload.ideal), duration(queue),
                f"{queue / workload.ideal:.2f}", f"{sequential / queue:.0f} times", f"{batch / workload.ideal:.2f}",
            )
        )
    print_table(
        "The guide's workloads (sequential: 10 items measured, multiplied)",
        ("workload", "sequential", "ideal", "queue", "queue / ideal", "faster by", "batch_process / ideal"),
        rows,
    )


def _through_the_queue(workload: Workload) -> float:
    configure(concurrency=workload.concurrency, batch_size=workload.batch_size)
    empty()
    job_queue.add_batch(
        {"type": "bench_wait", "payload": {"seconds": workload.seconds}} for _ in range(workload.items)
    )
    summary = process_jobs(drain=True)
    assert summary.completed == workload.items, summary
    return summary.seconds


def _batch_process(workload: Workload) -> float:
    began = time.perf_counter()
    outcomes = batch_process(
        [workload.seconds] * workload.items, time.sleep, workload.concurrency * workload.batch_size
    )
    assert all(outcome.ok for outcome in outcomes)
    return time.perf_counter() - began


def _sequential(workload: Workload) -> float:
    began = time.perf_counter()
    for _ in range(SEQUENTIAL_SAMPLE):
        time.sleep(workload.seconds)
    return (time.perf_counter() - began) / SEQUENTIAL_SAMPLE * workload.items
