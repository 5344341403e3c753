"""Daily: deletes what is too old."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.see_through import DRAIN_SECONDS, see_through
from models.deletion import PROBE_ROWS, probe
from models.retention import DAYS_KEPT, MOST_DAYS, days_by_status, queue_cleanup


@flow(name="cleanup-old-jobs", persist_result=False)
def cleanup_old_jobs(
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DAYS_KEPT,
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Deletes jobs that ended more than `days` days ago, and makes older figures of the roll-up coarser.

    Adds a `cleanup_old_data` job of low priority, unless one is waiting or running already, and works on the queue
    until it is empty or `drain_seconds` have passed. A job that still waits then is left to the standing workers.

    With `dry_run` nothing is queued or deleted: `would_delete` says how many rows would go, counted up to 100,000 each.
    """
    if dry_run:
        return _rehearse(days)
    return see_through(queue_cleanup(days).id, drain_seconds=drain_seconds)


def _rehearse(days: int) -> dict[str, Any]:
    found = probe(days_by_status(days), {})
    more = [name for name, rows in found.items() if rows >= PROBE_ROWS]
    for name, rows in found.items():
        get_run_logger().info("would delete %s%s of %s", "at least " if name in more else "", f"{rows:,}", name)
    return {"success": True, "dry_run": True, "would_delete": found, "at_least": more}


if __name__ == "__main__":
    print(cleanup_old_jobs())
