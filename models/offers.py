"""Offers for opportunities, in the caller's transaction: choosing the promotions, the prices, writing them down.

Many at once: four statements a batch, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from sqlmodel import Session

from models.ids import new_job_id
from models.sql import statement

#: How long somebody else may hold an opportunity. Less than the time-out: the thread of a `def` that ran out of time
#: waits on, with a connection that the whole worker needs.
LOCK_SECONDS = 20.0
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class LockedOpportunity:
    """An opportunity that nobody else can change until the transaction ends; an unknown value counts as 0."""

    id: str
    status: str
    customer_id: str | None
    value: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OfferChoice:
    """What may be offered. `tier` None: there is no customer; `promotion_id` None: no promotion fits.

    `offer_id`: the offer that was made already.
    """

    tier: str | None
    email: str | None
    unsubscribed: bool
    offer_id: str | None
    promotion_id: str | None
    discount_percent: Decimal | None


@dataclass(frozen=True, slots=True)
class NewOffer:
    """An offer to be written."""

    opportunity_id: str
    promotion_id: str
    discount_percent: Decimal
    amount: Decimal


def lock_opportunities(session: Session, ids: Sequence[str]) -> dict[str, LockedOpportunity]:
    """Locks the rows, and returns those that exist, by id. In the order of the ids, as two batches may share some.

    A statement by itself: one that also read the customers would, after waiting for another transaction's lock, put the
    changed opportunity together with what the customer was before.

    Raises:
        sqlalchemy.exc.OperationalError: when somebody else has held one of them for 20 s.
    """
    session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}")
    rows = session.connection().exec_driver_sql(statement("lock_opportunities"), {"ids": list(ids)})
    return {
        id_: LockedOpportunity(id_, status, customer_id, value or Decimal(0), created_at)
        for id_, status, customer_id, value, created_at in rows
    }


def choose_offers(session: Session, opportunities: Sequence[LockedOpportunity]) -> dict[str, OfferChoice]:
    """For each opportunity, by id, its customer and the best promotion.

    The best is active, for the customer's tier or for all, its minimum value and age reached by the opportunity; the
    highest discount wins, and of equal ones the first by id.
    """
    rows = session.connection().exec_driver_sql(
        statement("offer_choices"),
        {
            "opportunity_ids": [opportunity.id for opportunity in opportunities],
            "customer_ids": [opportunity.customer_id for opportunity in opportunities],
            "values": [opportunity.value for opportunity in opportunities],
            "created_at": [opportunity.created_at for opportunity in opportunities],
        },
    )
    return {row[0]: OfferChoice(*row[1:]) for row in rows}


def make_offers(session: Session, offers: Sequence[NewOffer]) -> dict[str, str]:
    """Writes the offers and moves their opportunities to `proposal`.

    Returns:
        The id of the offer for each opportunity that had none.
    """
    rows = session.connection().exec_driver_sql(
        statement("make_offers"),
        {
            "offer_ids": [new_job_id() for _ in offers],
            "opportunity_ids": [offer.opportunity_id for offer in offers],
            "promotion_ids": [offer.promotion_id for offer in offers],
            "amounts": [offer.amount for offer in offers],
            "discounts": [offer.discount_percent for offer in offers],
        },
    )
    return {row[0]: row[1] for row in rows}


def amount_after(value: Decimal, discount_percent: Decimal) -> Decimal:
    """The price after the discount, rounded to cents, half to even (PostgreSQL's round() goes away from zero)."""
    return (value * (100 - discount_percent) / 100).quantize(_CENT, ROUND_HALF_EVEN)
