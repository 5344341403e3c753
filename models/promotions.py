"""What a promotion's mail to a customer is made of."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from models import database
from models.messages import MessageKey
from models.sql import statement


@dataclass(frozen=True, slots=True)
class PromotionText:
    """A promotion as all its mails have it."""

    subject: str
    body: str
    active: bool
    discount_percent: Decimal


@dataclass(frozen=True, slots=True)
class PromotionMail:
    """The customer (`name` None: there is none), and the offer if any with its discount and price.

    `sent`: the mail went out.
    """

    name: str | None
    email: str | None
    unsubscribed: bool
    offer_id: str | None
    discount_percent: Decimal | None
    amount: Decimal | None
    sent: bool


def promotion_key(customer_id: str, promotion_id: str) -> MessageKey:
    """A promotion is sent to a customer once, for however many opportunities it was offered."""
    return MessageKey(customer_id, "send_promotion", promotion_id)


async def promotion_text(promotion_id: str) -> PromotionText | None:
    """Reads a promotion; None: there is none of that id."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT subject, body, active, discount_percent FROM promotions WHERE id = %(id)s", {"id": promotion_id}
        )
        found = rows.one_or_none()
    return None if found is None else PromotionText(*found)


async def promotion_mail(customer_id: str, promotion_id: str, opportunity_id: str | None) -> PromotionMail:
    """Reads it; the offer only where `opportunity_id` is given, and is this customer's."""
    async with database.async_engine().connect() as connection:
        rows = await connection.exec_driver_sql(
            statement("promotion_mail"),
            {
                "customer_id": customer_id,
                "promotion_id": promotion_id,
                "opportunity_id": opportunity_id,
                "kind": promotion_key(customer_id, promotion_id).kind,
            },
        )
        return PromotionMail(*rows.one())
