"""Job type `cleanup_old_data`: deletes what is too old to be of use, and makes the roll-up coarser with age."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models import retention
from tasks import Payload, processor, report_progress

#: The jobs are by far the most; the rest is seconds.
_JOBS_SHARE = 0.9
#: Ten million rows at the measured pace take some five minutes; past an hour something is wrong.
TIMEOUT_SECONDS = 3600.0


class CleanupPayload(Payload):
    days: Annotated[int, Field(ge=1, le=3650, description="How long ended jobs are kept.")] = 30


# A `def`: it does nothing but wait for the database, chunk after chunk, each on a connection it gives back.
@processor(retries=2, timeout_seconds=TIMEOUT_SECONDS)
def cleanup_old_data(payload: CleanupPayload) -> dict[str, int]:
    """Deletes jobs that ended more than `days` days ago, and merges the roll-up's minutes older than 48 h into hours.

    Hours and the audit log are kept 13 months; totals come from the roll-up and so outlive the jobs. Each chunk is a
    transaction of its own: interrupted, it has done a part, and the next run goes on.
    """
    jobs = 0
    for chunk in retention.delete_old_jobs(payload.days):
        jobs += chunk.jobs
        report_progress(min(1.0, max(0.0, chunk.share)) * _JOBS_SHARE, f"{jobs:,} jobs deleted")
    report_progress(_JOBS_SHARE, "merging the roll-up")
    minutes = sum(retention.merge_minutes())
    hours = retention.delete_old_hours()
    audit_entries = sum(retention.delete_old_audit_entries())
    return {"jobs": jobs, "minutes_merged": minutes, "hours_deleted": hours, "audit_entries": audit_entries}
