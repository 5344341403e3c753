"""Offers for opportunities, in the caller's transaction: choosing the promotion, the price, writing it down."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from sqlmodel import Session, col, select

from models.crm import Opportunity
from models.ids import new_job_id
from models.sql import statement

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class LockedOpportunity:
    """An opportunity that nobody else can change until the transaction ends; an unknown value counts as 0."""

    id: str
    status: str
    customer_id: str | None
    value: Decimal


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


def lock_opportunity(session: Session, opportunity_id: str) -> LockedOpportunity | None:
    """Locks the row; None when there is none.

    A statement by itself: one that also read the customer would, after waiting for another transaction's lock, put the
    changed opportunity together with what the customer was before.
    """
    row = session.exec(
        select(col(Opportunity.status), col(Opportunity.customer_id), col(Opportunity.estimated_value))
        .where(col(Opportunity.id) == opportunity_id)
        .with_for_update()
    ).first()
    if row is None:
        return None
    status, customer_id, value = row
    return LockedOpportunity(opportunity_id, status, customer_id, value or Decimal(0))


def choose_offer(session: Session, opportunity: LockedOpportunity) -> OfferChoice:
    """The customer and the best promotion: active, for the customer's tier or for all, its minimum value reached.

    The highest discount wins; of equal ones the first by id.
    """
    rows = session.connection().exec_driver_sql(
        statement("offer_choice"),
        {"opportunity_id": opportunity.id, "customer_id": opportunity.customer_id, "value": opportunity.value},
    )
    return OfferChoice(*rows.one())


def make_offer(
    session: Session, opportunity: LockedOpportunity, *, promotion_id: str, discount_percent: Decimal, amount: Decimal
) -> str | None:
    """Writes the offer and moves the opportunity to `proposal`; returns the offer's id, None when it has one."""
    rows = session.connection().exec_driver_sql(
        statement("make_offer"),
        {
            "offer_id": new_job_id(),
            "opportunity_id": opportunity.id,
            "promotion_id": promotion_id,
            "amount": amount,
            "discount_percent": discount_percent,
        },
    )
    return rows.scalar_one_or_none()


def amount_after(value: Decimal, discount_percent: Decimal) -> Decimal:
    """The price after the discount, rounded to cents, half to even (PostgreSQL's round() goes away from zero)."""
    return (value * (100 - discount_percent) / 100).quantize(_CENT, ROUND_HALF_EVEN)
