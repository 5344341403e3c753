"""The opportunities that still need an offer, how urgent each is, and queueing a job for each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from models import database
from models.adding import add_jobs
from models.priority import URGENCY_POINTS, calculate_priority
from models.sql import statement

#: So many are worked on in the hour between two runs on a small machine, with time to spare.
MOST_OPPORTUNITIES = 500
#: (at most this many days until the expected close, urgency), nearest first; later than all: low.
CLOSING_DAYS = ((3, "critical"), (14, "high"), (45, "medium"))
#: Where the CRM does not say when.
UNKNOWN_CLOSE = "medium"
#: Who has heard nothing for longer is served before others who close at the same time.
STALE_DAYS = 30

_STEPS = tuple(sorted(URGENCY_POINTS, key=lambda word: URGENCY_POINTS[word]))


@dataclass(frozen=True, slots=True)
class OpenOpportunity:
    """What it takes to queue an opportunity; `tier` None: no customer. `today` is the database's date, in UTC."""

    id: str
    estimated_value: Decimal | None
    expected_close: date | None
    created_at: datetime
    updated_at: datetime
    tier: str | None
    today: date


@dataclass(frozen=True, slots=True)
class QueuedOffers:
    """How many opportunities were queued, and how many were queued before and still wait or run."""

    queued: int
    already_queued: int


def queue_offers(limit: int = MOST_OPPORTUNITIES) -> QueuedOffers:
    """Queues a `process_opportunity_offer` job for each open opportunity without an offer, at most `limit` of them.

    The most valuable come first. Each job's priority follows from `determine_urgency`, the customer's tier and the
    value. An opportunity whose job waits or runs already is not queued twice.
    """
    jobs = add_jobs([_offer_job(opportunity) for opportunity in open_opportunities(limit)])
    queued = sum(job.added for job in jobs)
    return QueuedOffers(queued, len(jobs) - queued)


def _offer_job(opportunity: OpenOpportunity) -> dict[str, Any]:
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


def open_opportunities(limit: int) -> list[OpenOpportunity]:
    """At most `limit` opportunities that are new, qualified or in proposal and have no offer yet.

    The most valuable first, those without a value after them; those that no promotion fits come last of all.
    """
    with database.transaction() as connection:
        rows = connection.execute(statement("open_opportunities"), {"most": limit}).fetchall()
    return [OpenOpportunity(*row) for row in rows]


def determine_urgency(
    expected_close: date | None, created_at: datetime, today: date, *, moved_at: datetime | None = None
) -> str:
    """How urgent an opportunity is: `critical`, `high`, `medium` or `low`.

    Overdue or expected to close within 3 days: critical; within 14: high; within 45, or nobody knows when: medium;
    later: low. One that is older than 30 days and has not moved in the last 30 goes up one step.

    Args:
        created_at: when it was created, with a time zone.
        today: the date in UTC.
        moved_at: when it last changed; None: never.
    """
    urgency = UNKNOWN_CLOSE if expected_close is None else _closing(expected_close, today)
    last_moved = max(created_at, moved_at or created_at)
    if (today - last_moved.astimezone(UTC).date()).days > STALE_DAYS:
        urgency = _STEPS[min(_STEPS.index(urgency) + 1, len(_STEPS) - 1)]
    return urgency


def _closing(expected_close: date, today: date) -> str:
    days = (expected_close - today).days
    return next((urgency for at_most, urgency in CLOSING_DAYS if days <= at_most), "low")
