"""What the flows that add one job share: they work on the queue until it is done, and say what came of it."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger

from flows.process_jobs import process_jobs
from models import database
from models.jobs import BackgroundJob, JobStatus

#: Seconds: the hour's other work has had its turn by then, and the schedule's next run is far away.
DRAIN_SECONDS = 300.0


class JobFailedError(RuntimeError):
    """The job failed for good; its message says why."""


def see_through(job_id: str, *, drain_seconds: float) -> dict[str, Any]:
    """Works on the queue until it is empty or `drain_seconds` have passed, and returns what became of the job.

    A job that still waits then is left to the standing workers.

    Raises:
        JobFailedError: when it failed for good.
    """
    process_jobs(drain=True, minutes=drain_seconds / 60)
    with database.session() as session:
        job = session.get(BackgroundJob, job_id)
    if job is not None and job.status == JobStatus.FAILED:
        raise JobFailedError(f"the job {job_id} failed for good: {job.error_message}")
    status = job.status if job is not None else "deleted"
    result = job.result if job is not None else None
    get_run_logger().info("the job %s is %s: %s", job_id, status, result)
    return {"success": True, "job_id": job_id, "status": status, "result": result}
