"""Daily: queues requests for reviews of what was completed lately, and sees that they are sent."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.process_jobs import process_jobs
from models.appointments import MOST_APPOINTMENTS, queue_review_requests

DRAIN_SECONDS = 300.0


@flow(name="send-review-requests", persist_result=False)
def send_review_requests(
    limit: Annotated[int, Field(ge=1, le=10_000)] = MOST_APPOINTMENTS,
    drain: bool = True,
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Queues a `send_review_request` job for what was completed yesterday or up to 7 days ago, at most `limit`.

    Each customer is asked about the latest visit, and not again within 90 days; none is who has unsubscribed. With
    `drain` this run then works on the queue itself, beside the standing workers, until it is empty or `drain_seconds`
    have passed. With `dry_run` nothing is queued: `would_queue` says which appointments would be.
    """
    found = queue_review_requests(limit, dry_run=dry_run).appointments
    if dry_run:
        get_run_logger().info("%d review requests would be queued: %s", len(found), ", ".join(found[:20]))
        return {"success": True, "dry_run": True, "would_queue": found}
    get_run_logger().info("%d review requests queued", len(found))
    summary = process_jobs(drain=True, minutes=drain_seconds / 60) if drain else None
    return {"success": True, "queued": len(found), "summary": summary}


if __name__ == "__main__":
    print(send_review_requests())
