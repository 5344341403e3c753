"""The guide's three admin endpoints, with its paths and shapes to the letter."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from dashboard.api.description import answers
from dashboard.api.jobs import not_possible
from dashboard.api.routing import Caller, router
from dashboard.api.shapes import Done, FailedJob, JobStats, JobToRetry
from models import listing, operations, stats
from models.filters import JobFilter

reads = router("viewer", "admin")
acts = router("operator", "admin")

_FAILED = JobFilter(statuses=("failed",))


@reads.get("/admin/jobs/stats", operation_id="getJobStats", summary="The jobs in figures")
def get_job_stats() -> JobStats:
    """Jobs by status, the share that succeeded, and how long an attempt runs in the mean."""
    found = stats.get_stats()
    rate, mean = found.success_rate, stats.mean_run_seconds()
    return JobStats(
        total=found.pending + found.processing + found.completed + found.failed,
        pending=found.pending,
        processing=found.processing,
        completed=found.completed,
        failed=found.failed,
        success_rate=None if rate is None else f"{rate:.1%}",
        avg_processing_time=None if mean is None else _seconds(mean),
    )


@reads.get(
    "/admin/jobs/failed", operation_id="listFailedJobs", summary="The jobs that failed last", responses=answers(422)
)
def list_failed_jobs(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[FailedJob]:
    """The newest failures first. To go through all of them: `GET /jobs?status=failed`, page by page."""
    rows = listing.page(_FAILED, limit=limit).frame.to_dict("records")
    return [
        FailedJob(
            id=row["id"],
            type=row["job_type"],
            status=row["status"],
            retry_count=row["attempts"] - 1,
            error_message=row["error_message"],
            created_at=row["created_at"].to_pydatetime(),
        )
        for row in rows
    ]


@acts.post(
    "/admin/jobs/retry",
    operation_id="retryJob",
    summary="Retry a failed job",
    responses=answers(400, 404, 409, 413, 415, 422),
)
def retry_job(sent: JobToRetry, caller: Caller) -> Done:
    """Makes a failed or cancelled job pending again, due now, with a fresh retry budget; its history stays."""
    if operations.retry([sent.job_id], caller).done:
        return Done(job_id=sent.job_id)
    raise not_possible(sent.job_id, "a failed or cancelled job whose unique key is free")


def _seconds(mean: float) -> str:
    """As the guide writes it, 1.2s; what is shorter than a second to the millisecond."""
    return f"{mean:.1f}s" if mean >= 0.95 else f"{max(mean, 0.001):.3f}".rstrip("0") + "s"
