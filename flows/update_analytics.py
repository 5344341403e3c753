"""Daily: the figures of the day that is over, of late events, and of any day that lacks them."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.see_through import DRAIN_SECONDS, see_through
from models.analytics import DAYS, MOST_DAYS, days_to_compute, queue_analytics


@flow(name="update-analytics", persist_result=False)
def update_analytics(
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DAYS,
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Computes the daily figures of the last `days` days, and of any day since the first data that lacks them.

    Adds an `update_analytics` job of low priority, unless one is waiting or running already, and works on the queue
    until it is empty or `drain_seconds` have passed. A job that still waits then is left to the standing workers.

    With `dry_run` nothing is queued or computed: `days` says how many days would be, and `first` which is the oldest.
    """
    if not dry_run:
        return see_through(queue_analytics(days).id, drain_seconds=drain_seconds)
    wanted, _ = days_to_compute(days)
    get_run_logger().info("would compute %d days, from %s to %s", len(wanted), wanted[0], wanted[-1])
    return {"success": True, "dry_run": True, "days": len(wanted), "first": str(wanted[0]), "last": str(wanted[-1])}


if __name__ == "__main__":
    print(update_analytics())
