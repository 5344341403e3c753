"""What a scheduler elsewhere calls, hourly and daily; the flows do the same where Prefect keeps the schedule."""

from __future__ import annotations

from dashboard.api.routing import router
from dashboard.api.shapes import Queued
from models.opportunities import queue_offers
from models.retention import queue_cleanup

acts = router("cron", "cron")


@acts.post("/cron/process-opportunities", operation_id="processOpportunities", summary="Queue the hour's offers")
def process_opportunities() -> Queued:
    """Queues a job for each open opportunity without an offer, at most 500, the most valuable first. `queued` are those
    that are new: one whose job waits or runs already is not queued twice."""
    return Queued(queued=queue_offers().queued)


@acts.post("/cron/cleanup-old-jobs", operation_id="cleanupOldJobs", summary="Queue the day's clean-up")
def cleanup_old_jobs() -> Queued:
    """Queues the job that deletes what is past its retention; `queued` is 0 while one waits or runs already."""
    return Queued(queued=int(queue_cleanup().added))
