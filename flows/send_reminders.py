"""Hourly: queues reminders of the appointments that start soon, and sees that they are sent."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.process_jobs import process_jobs
from models.appointments import MOST_APPOINTMENTS, REMIND_HOURS, queue_reminders

DRAIN_SECONDS = 300.0


@flow(name="send-reminders", persist_result=False)
def send_reminders(
    limit: Annotated[int, Field(ge=1, le=10_000)] = MOST_APPOINTMENTS,
    hours: Annotated[float, Field(gt=0, le=24 * 14)] = REMIND_HOURS,
    drain: bool = True,
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Queues a `send_reminder` job for each appointment that starts within `hours` and has none yet, at most `limit`.

    The next ones come first. An appointment that was moved gets another one. In a customer's quiet hours the job waits
    until they end. With `drain` this run then works on the queue itself, beside the standing workers, until it is empty
    or `drain_seconds` have passed. With `dry_run` nothing is queued: `would_queue` says which appointments would be.
    """
    found = queue_reminders(limit, hours=hours, dry_run=dry_run).appointments
    if dry_run:
        get_run_logger().info("%d reminders would be queued: %s", len(found), ", ".join(found[:20]))
        return {"success": True, "dry_run": True, "would_queue": found}
    get_run_logger().info("%d reminders queued", len(found))
    summary = process_jobs(drain=True, minutes=drain_seconds / 60) if drain else None
    return {"success": True, "queued": len(found), "summary": summary}


if __name__ == "__main__":
    print(send_reminders())
