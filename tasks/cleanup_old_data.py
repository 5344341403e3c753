"""Job type `cleanup_old_data`: deletes what is too old to be of use, and makes the roll-ups coarser with age."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from models import metrics, vacuum
from models.deletion import CHUNK_ROWS, delete_old_jobs, delete_old_rows
from models.merging import merge_minutes
from models.retention import DAYS_KEPT, MOST_DAYS, POLICIES, checked_keep, days_by_status
from tasks import Payload, processor, report_progress
from tasks.services import report_files

logger = logging.getLogger(__name__)

#: The jobs are by far the most; the rest is seconds.
_JOBS_SHARE = 0.8
#: Ten million rows at the measured pace take some five minutes; past an hour something is wrong.
TIMEOUT_SECONDS = 3600.0

Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]


class CleanupPayload(Payload):
    days: Annotated[int, Field(ge=1, le=MOST_DAYS, description="How long ended jobs are kept.")] = DAYS_KEPT
    completed_days: Days | None = Field(None, description="Completed ones, where it is not `days`.")
    failed_days: Days | None = Field(None, description="Failed ones, where it is not `days`.")
    cancelled_days: Days | None = Field(None, description="Cancelled ones, where it is not `days`.")
    keep: Annotated[dict[str, int], AfterValidator(checked_keep)] = Field(
        {},
        description="Days by table, where they are not the policy's own.",
        json_schema_extra={"propertyNames": {"enum": [policy.name for policy in POLICIES]}},
    )
    chunk_rows: int = Field(CHUNK_ROWS, ge=100, le=50_000, description="Rows that one transaction deletes at most.")
    vacuum: bool = Field(False, description="VACUUM (ANALYZE) the tables that lost more than a fifth of their rows.")


# A `def`: it does nothing but wait for the database, chunk after chunk, each on a connection it gives back.
@processor(retries=2, timeout_seconds=TIMEOUT_SECONDS)
def cleanup_old_data(payload: CleanupPayload) -> dict[str, Any]:
    """Deletes jobs that ended more than `days` days ago, and what is past its retention in the other tables.

    Minutes of the roll-up and of the backlog's samples older than 48 h are merged into hours, which are kept 13 months
    like the audit log; totals come from the roll-up and so outlive the jobs. Each chunk is a transaction of its own:
    interrupted, it has done a part, and the next run goes on. Old reports are removed. The result has the rows by
    table, and the command for each table that lost so much that it should be vacuumed.
    """
    before = vacuum.row_estimates()
    deleted, by_status = _delete_jobs(payload)
    report_progress(_JOBS_SHARE, "merging the roll-ups")
    merged = sum(merge_minutes())
    for number, policy in enumerate(POLICIES):
        share = _JOBS_SHARE + (1 - _JOBS_SHARE) * number / len(POLICIES)
        report_progress(share, f"deleting from {policy.name}")
        for rows in delete_old_rows(policy, payload.keep.get(policy.name), chunk_rows=payload.chunk_rows):
            deleted[policy.table] += rows
            report_progress(share, f"{deleted[policy.table]:,} rows of {policy.name} deleted")
    report_files.sweep()
    reports = report_files.prune(metrics.database_now())
    return {
        "jobs": deleted["background_jobs"],
        "jobs_by_status": by_status,
        "deleted": dict(deleted),
        "minutes_merged": merged,
        "reports_removed": len(reports),
        **_vacuum(deleted, before, payload.vacuum),
    }


def _delete_jobs(payload: CleanupPayload) -> tuple[Counter[str], dict[str, int]]:
    """Rows that went by table, and the jobs among them by status."""
    tables = ["background_jobs", "job_failures", *(policy.table for policy in POLICIES)]
    deleted = Counter(dict.fromkeys(tables, 0))
    days = days_by_status(
        payload.days,
        {
            "completed": payload.completed_days,
            "failed": payload.failed_days,
            "cancelled": payload.cancelled_days,
        },
    )
    by_status = Counter(dict.fromkeys(days, 0))
    for chunk in delete_old_jobs(days, chunk_rows=payload.chunk_rows):
        by_status.update(chunk.by_status)
        deleted["background_jobs"] += chunk.jobs
        deleted["job_failures"] += chunk.failures
        share = min(1.0, max(0.0, chunk.share)) * _JOBS_SHARE
        report_progress(share, f"{deleted['background_jobs']:,} jobs deleted")
    return deleted, dict(by_status)


def _vacuum(deleted: Counter[str], before: dict[str, int], wanted: bool) -> dict[str, Any]:
    commands = vacuum.hints(deleted, before)
    if not commands:
        return {}
    if wanted:
        return {"vacuumed": vacuum.run(commands)}
    for table, command in commands.items():
        logger.info("%s rows of %s are gone, more than a fifth; to have its room back at once: %s",
                    f"{deleted[table]:,}", table, command)  # fmt: skip
    return {"vacuum_hint": list(commands.values())}
