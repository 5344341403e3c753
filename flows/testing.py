"""For tests of your own job types: runs what is due, in this process, as a worker does, without a Prefect server."""

from __future__ import annotations

from flows.worker import Worker
from tasks.batch import Batch
from tasks.tally import Tally


def run_due_jobs(*job_types: str) -> dict[str, Tally]:
    """Claims and runs all jobs that are due now, of these types or of all, and returns what became of them, by type.

    All of a worker is there but Prefect's task runs: the claim, the payload's check, time-outs, outcomes and failures
    in the database. A job that is to be retried later is not due; one whose back-off is 0 runs again.
    """
    tallies: dict[str, Tally] = {}
    worker = Worker(job_types or None)
    worker.start()
    try:
        while isinstance(batch := worker.claim(None), Batch):
            batch.run()
            tallies.setdefault(batch.job_type.name, Tally()).merge(worker.ended(batch))
    finally:
        worker.stop(grace=0)
    return tallies
