"""Hourly: queues the open opportunities that have no offer yet, and sees that they are worked on."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.process_jobs import process_jobs
from models.opportunities import MOST_OPPORTUNITIES, queue_offers

DRAIN_SECONDS = 300.0


@flow(name="process-opportunities", persist_result=False)
def process_opportunities(
    limit: Annotated[int, Field(ge=1, le=10_000)] = MOST_OPPORTUNITIES,
    drain: bool = True,
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
) -> dict[str, Any]:
    """Queues a `process_opportunity_offer` job for each open opportunity without an offer, at most `limit` of them.

    The most valuable come first. Each job's priority follows from how soon the opportunity is expected to close, how
    long it has been waiting, the customer's tier and the value. An opportunity that is queued already is not queued
    twice. With `drain` this run then works on the queue itself, beside the standing workers, until it is empty or
    `drain_seconds` have passed.

    Returns `queued` (those that are new), `already_queued`, and the shift's `summary` (None without `drain`).
    """
    offers = queue_offers(limit)
    get_run_logger().info("%d opportunities queued, %d were already", offers.queued, offers.already_queued)
    summary = process_jobs(drain=True, minutes=drain_seconds / 60) if drain else None
    return {"success": True, "queued": offers.queued, "already_queued": offers.already_queued, "summary": summary}


if __name__ == "__main__":
    print(process_opportunities())
