"""Hourly: queues the open opportunities that have no offer yet, and sees that they are worked on."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.process_jobs import process_jobs
from models import calculate_priority, database, job_queue
from models.opportunities import OpenOpportunity, count_added, determine_urgency, open_opportunities

#: So many are worked on in the hour between two runs on a small machine, with time to spare.
MOST_OPPORTUNITIES = 500
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
    opportunities = open_opportunities(limit)
    with database.session() as session:
        job_ids = job_queue.add_batch([_job(opportunity) for opportunity in opportunities], session=session)
        queued = count_added(session, job_ids)
        session.commit()
    already_queued = len(opportunities) - queued
    get_run_logger().info("%d opportunities queued, %d were already", queued, already_queued)
    summary = process_jobs(drain=True, minutes=drain_seconds / 60) if drain else None
    return {"success": True, "queued": queued, "already_queued": already_queued, "summary": summary}


def _job(opportunity: OpenOpportunity) -> dict[str, Any]:
    urgency = determine_urgency(
        opportunity.expected_close, opportunity.created_at, opportunity.today, moved_at=opportunity.updated_at
    )
    return {
        "type": "process_opportunity_offer",
        "payload": {"opportunity_id": opportunity.id},
        "priority": calculate_priority(
            urgency=urgency, customer_tier=opportunity.tier, value=opportunity.estimated_value
        ),
        "unique_key": f"opportunity-offer:{opportunity.id}",
    }


if __name__ == "__main__":
    print(process_opportunities())
