"""Job type `send_promotion`: one mail with a promotion, and a personal offer if there is one, to one customer."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from prefect.tasks import exponential_backoff
from pydantic import Field

from models.promotions import PromotionMail, promotion_key, promotion_mail
from models.settings import settings
from models.unsubscribe import unsubscribe_link
from tasks import Payload, PermanentError, processor
from tasks.services.mail import Mail, company_name, recipient, send_once
from tasks.services.render import render

#: Waiting for a connection counts too: fifty mails at once over five connections to a server that takes 5 s for each.
TIMEOUT_SECONDS = 120.0

Id = Annotated[str, Field(min_length=1)]


class PromotionPayload(Payload):
    customer_id: Id
    promotion_id: Id
    opportunity_id: Id | None = Field(None, description="Its offer's price goes into the mail.")


@processor(
    retries=4,
    # 2, 4, 8, 16 s and up to half as much again: a mail server that restarts is back by then.
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    timeout_seconds=TIMEOUT_SECONDS,
)
async def send_promotion(payload: PromotionPayload) -> dict[str, str]:
    """Sends a promotion to a customer, once, however often the job runs or is added.

    Nothing is sent to who has unsubscribed, nor of a promotion that is no longer active (an offer that was made
    stands); the result then says `skipped` and why.
    """
    found = await promotion_mail(payload.customer_id, payload.promotion_id, payload.opportunity_id)
    skipped = _why_not(payload, found)
    if skipped is None:
        key = promotion_key(payload.customer_id, payload.promotion_id)
        if await send_once(key, _mail(payload, found)):
            return {"message_id": key.id}
        skipped = "already sent"
    return {"skipped": skipped}


def _why_not(payload: PromotionPayload, found: PromotionMail) -> str | None:
    if found.name is None:
        raise PermanentError(f"there is no customer {payload.customer_id!r:.100}: it was deleted, or the id is wrong")
    if found.subject is None:
        raise PermanentError(f"there is no promotion {payload.promotion_id!r:.100}: it was deleted, or the id is wrong")
    if found.sent:
        return "already sent"
    if found.unsubscribed:
        return "unsubscribed"
    if payload.opportunity_id is not None and found.offer_id is None:
        raise PermanentError(
            f"there is no offer of the promotion {payload.promotion_id!r:.100} to the customer "
            f"{payload.customer_id!r:.100} for the opportunity {payload.opportunity_id!r:.100}"
        )
    if found.offer_id is None and not found.active:
        return "promotion not active"
    return None


def _mail(payload: PromotionPayload, found: PromotionMail) -> Mail:
    name, subject = (found.name or "").strip(), found.subject or ""
    query = {"promotion": payload.promotion_id}
    if found.offer_id is not None:
        query["offer"] = found.offer_id
    unsubscribe = unsubscribe_link(payload.customer_id)
    text, html = render(
        "promotion",
        customer_name=name,
        title=subject,
        body=found.body or "",
        amount=found.amount,
        discount=found.discount_percent,
        link=f"{settings().public_url}/?{urlencode(query)}",
        unsubscribe_link=unsubscribe,
        company=company_name(),
    )
    return Mail(to=recipient(name, found.email), subject=subject, text=text, html=html, unsubscribe_link=unsubscribe)
