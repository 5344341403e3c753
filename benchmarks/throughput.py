"""Jobs that do nothing: adding and processing apart, beside the raw ceiling of the same statements in a bare loop."""

from __future__ import annotations

import statistics
import time

from benchmarks.surroundings import configure, empty
from deployments.output import print_table
from flows.process_jobs import process_jobs
from models import database, job_queue
from models.door import PAYLOAD_LIMIT_BYTES
from models.sql import statement

JOBS = 30_000
#: One at a time, each its own commit.
SINGLE_JOBS = 1_000
#: What the worker's batches of short jobs carry: 20 times 50.
BATCH = 1_000
#: Ceiling and queue in turn, so that a machine whose speed drifts treats both alike.
ROUNDS = 3


def measure() -> None:
    """Prints jobs per second for adding and for processing, and their ratio to the ceiling."""
    configure(concurrency=3, batch_size=50)
    singles, batches, ceilings, queues = [], [], [], []
    for _ in range(ROUNDS):
        empty()
        singles.append(_rate(SINGLE_JOBS, _add_singly))
        empty()
        batches.append(_rate(JOBS, _add_batch))
        ceilings.append(_rate(JOBS, _bare_loop))
        empty()
        _add_batch()
        queues.append(JOBS / _process())
    ratios = [queue / ceiling for queue, ceiling in zip(queues, ceilings, strict=True)]
    print_table(
        f"No-op jobs per second (median of {ROUNDS} rounds)",
        ("what", "jobs/s", "all rounds"),
        [
            ("add_job, one commit each", *_figures(singles)),
            (f"add_batch of {JOBS:,}", *_figures(batches)),
            ("raw ceiling: claim and finish in a bare loop", *_figures(ceilings)),
            ("processing through Prefect task runs", *_figures(queues)),
            ("processing / ceiling", f"{statistics.median(ratios):.2f}", ", ".join(f"{ratio:.2f}" for ratio in ratios)),
        ],
    )


def _figures(rates: list[float]) -> tuple[str, str]:
    return f"{statistics.median(rates):,.0f}", ", ".join(f"{rate:,.0f}" for rate in rates)


def _rate(jobs: int, work: object) -> float:
    assert callable(work)
    began = time.perf_counter()
    work()
    return jobs / (time.perf_counter() - began)


def _add_singly() -> None:
    for number in range(SINGLE_JOBS):
        job_queue.add_job(type="bench_nothing", payload={"number": number})


def _add_batch() -> None:
    job_queue.add_batch({"type": "bench_nothing", "payload": {"number": number}} for number in range(JOBS))


def _process() -> float:
    summary = process_jobs(drain=True)
    assert summary.completed == JOBS, summary
    return summary.seconds


def _bare_loop() -> None:
    with database.connect() as connection:
        done = 0
        while done < JOBS:
            with connection.transaction():
                connection.execute(statement("along_the_indexes"))
                rows = connection.execute(
                    statement("claim_jobs"),
                    {
                        "job_type": "bench_nothing", "priorities": [5], "most": BATCH, "worker_id": "bare loop",
                        "flow_run_id": None, "alone_after": 2, "payload_limit": PAYLOAD_LIMIT_BYTES,
                    },
                ).fetchall()
            jobs = len(rows)
            assert jobs, "the queue ran dry"
            with connection.transaction():
                connection.execute(statement("along_the_indexes"))
                connection.execute(
                    statement("finish_jobs"),
                    {
                        "worker_id": "bare loop",
                        "ids": [row[0] for row in rows], "started_at": [row[7] for row in rows],
                        "statuses": ["completed"] * jobs, "retries": [0] * jobs, "delays": [0.0] * jobs,
                        "elapsed": [0.0] * jobs, "errors": [None] * jobs, "fingerprints": [""] * jobs,
                        "results": [None] * jobs,
                        "notes": [None] * jobs, "task_run_ids": [None] * jobs,
                    },
                )
            done += jobs
