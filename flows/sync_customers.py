"""Every half hour: brings customers and opportunities up to date with the CRM."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from pydantic import PositiveFloat

from flows.see_through import DRAIN_SECONDS, see_through
from models.sync import Source, configured_sources, queue_sync


@flow(name="sync-customers", persist_result=False)
def sync_customers(
    sources: list[Source] | None = None,
    everything: bool = False,
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Brings customers and opportunities up to date with the CRM's API (`api`) and its CSV files (`files`).

    Adds a `sync_customer_data` job for each of the `sources` (left out: those that CRM_SYNC_URL and CRM_SYNC_MAPPING
    configure), unless one is waiting or running already, and works on the queue until it is empty or `drain_seconds`
    have passed. A job that still waits then is left to the standing workers. With `everything` all is read again, not
    only what has changed. Where no source is configured there is nothing to do.

    With `dry_run` nothing is queued or read: `would_sync` says which sources would be.
    """
    chosen = list(dict.fromkeys(configured_sources() if sources is None else sources))
    if dry_run:
        get_run_logger().info("would sync %s", ", ".join(chosen) or "nothing")
        return {"success": True, "dry_run": True, "would_sync": chosen}
    if not chosen:
        get_run_logger().info("no source is configured: set CRM_SYNC_URL or CRM_SYNC_MAPPING")
    jobs = dict(zip(chosen, queue_sync(chosen, everything=everything), strict=True)) if chosen else {}
    ended = {source: see_through(job.id, drain_seconds=drain_seconds) for source, job in jobs.items()}
    return {"success": True, "sources": ended}


if __name__ == "__main__":
    print(sync_customers())
