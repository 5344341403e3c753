"""Job type `send_promotion`: one mail with a promotion, and a personal offer if there is one, to one customer."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from prefect.tasks import exponential_backoff
from pydantic import Field

from models.promotions import PromotionMail, PromotionText, promotion_key, promotion_mail, promotion_text
from models.settings import settings
from models.unsubscribe import unsubscribe_link
from tasks import Cache, Payload, PermanentError, processor, stage
from tasks.services.mail import Mail, company_name, recipient, send_once
from tasks.services.messages import worded
from tasks.services.render import percent, render

#: Waiting for a connection counts too: fifty mails at once over five connections to a server that takes 5 s for each.
TIMEOUT_SECONDS = 120.0
#: A campaign's jobs read one promotion; ended, it is sent for so much longer.
PROMOTION_SECONDS = 5.0

Id = Annotated[str, Field(min_length=1)]


_promotions = Cache(promotion_text, seconds=PROMOTION_SECONDS)


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
    services=("smtp",),
)
async def send_promotion(payload: PromotionPayload) -> dict[str, str]:
    """Sends a promotion to a customer, once, however often the job runs or is added.

    Nothing is sent to who has unsubscribed, nor of a promotion that is no longer active (an offer that was made
    stands); the result then says `skipped` and why.
    """
    with stage("fetch"):
        promotion = await _promotions.get(payload.promotion_id)
        found = await promotion_mail(payload.customer_id, payload.promotion_id, payload.opportunity_id)
    if promotion is None:
        raise PermanentError(f"there is no promotion {payload.promotion_id!r:.100}: it was deleted, or the id is wrong")
    skipped = _why_not(payload, found, promotion)
    if skipped is None:
        key = promotion_key(payload.customer_id, payload.promotion_id)
        if await send_once(key, await _mail(payload, found, promotion)):
            return {"message_id": key.id}
        skipped = "already sent"
    return {"skipped": skipped}


def _why_not(payload: PromotionPayload, found: PromotionMail, promotion: PromotionText) -> str | None:
    if found.name is None:
        raise PermanentError(f"there is no customer {payload.customer_id!r:.100}: it was deleted, or the id is wrong")
    if found.sent:
        return "already sent"
    if found.unsubscribed:
        return "unsubscribed"
    if payload.opportunity_id is not None and found.offer_id is None:
        raise PermanentError(
            f"there is no offer of the promotion {payload.promotion_id!r:.100} to the customer "
            f"{payload.customer_id!r:.100} for the opportunity {payload.opportunity_id!r:.100}"
        )
    if found.offer_id is None and not promotion.active:
        return "promotion not active"
    return None


async def _mail(payload: PromotionPayload, found: PromotionMail, promotion: PromotionText) -> Mail:
    name = (found.name or "").strip()
    discount = promotion.discount_percent if found.discount_percent is None else found.discount_percent
    subject, body = await worded(
        "promotion",
        {
            "customer_name": name,
            "company": company_name(),
            "title": promotion.subject,
            "body": promotion.body,
            "discount": percent(discount) if discount else "",
        },
    )
    query = {"promotion": payload.promotion_id}
    if found.offer_id is not None:
        query["offer"] = found.offer_id
    unsubscribe = unsubscribe_link(payload.customer_id)
    text, html = render(
        "promotion",
        customer_name=name,
        title=subject,
        body=body,
        amount=found.amount,
        discount=discount,
        link=f"{settings().public_url}/?{urlencode(query)}",
        unsubscribe_link=unsubscribe,
        company=company_name(),
    )
    return Mail(to=recipient(name, found.email), subject=subject, text=text, html=html, unsubscribe_link=unsubscribe)
