"""Job type `process_opportunity_offer`: makes an offer for one opportunity and queues the mail with it."""

from __future__ import annotations

from typing import Any

from models import calculate_priority, database, job_queue
from models.crm import OPEN_STATUSES
from models.offers import OfferChoice, amount_after, choose_offer, lock_opportunity, make_offer
from models.promotions import promotion_key
from tasks import Payload, PermanentError, processor
from tasks.send_promotion import Id, PromotionPayload, send_promotion


class OpportunityPayload(Payload):
    opportunity_id: Id


# A `def`: all of it is one short transaction on one connection, and `add_job(session=...)` takes part in it as it is.
# Four at once: more threads would only wait for the pool's connections.
@processor(batch_size=4)
def process_opportunity_offer(payload: OpportunityPayload) -> dict[str, Any]:
    """Offers the best promotion for an open opportunity, moves it to `proposal` and queues the customer's mail.

    The best promotion is active, meant for the customer's tier or for all, and its minimum value is reached by the
    opportunity's estimated value (an unknown one counts as 0); of these the one with the highest discount, and of
    equals the first by id. An opportunity has one offer: run twice, the job changes nothing and adds no second mail.

    Without a customer, an address or the customer's consent the offer is made all the same, and the result says in
    `no_mail` why none was queued. Of what is won, lost or has an offer, or when no promotion fits, it says `skipped`.
    """
    with database.session() as session:
        opportunity = lock_opportunity(session, payload.opportunity_id)
        if opportunity is None:
            raise PermanentError(
                f"there is no opportunity {payload.opportunity_id!r:.100}: it was deleted, or the id is wrong"
            )
        if opportunity.status not in OPEN_STATUSES:
            return {"skipped": f"the opportunity is {opportunity.status}"}
        choice = choose_offer(session, opportunity)
        if choice.offer_id is not None:
            return {"skipped": "has an offer", "offer_id": choice.offer_id}
        if choice.promotion_id is None or choice.discount_percent is None:
            return {"skipped": "no promotion fits"}
        amount = amount_after(opportunity.value, choice.discount_percent)
        offer_id = make_offer(
            session,
            opportunity,
            promotion_id=choice.promotion_id,
            discount_percent=choice.discount_percent,
            amount=amount,
        )
        if offer_id is None:
            return {"skipped": "has an offer"}
        result: dict[str, Any] = {
            "offer_id": offer_id,
            "promotion_id": choice.promotion_id,
            "discount_percent": str(choice.discount_percent),
            "amount": str(amount),
        }
        no_mail = _why_no_mail(choice)
        if no_mail is not None or opportunity.customer_id is None:
            result["no_mail"] = no_mail
        else:
            result["mail_job_id"] = job_queue.add_job(
                type=send_promotion.name,
                payload=PromotionPayload(
                    customer_id=opportunity.customer_id,
                    promotion_id=choice.promotion_id,
                    opportunity_id=opportunity.id,
                ),
                priority=calculate_priority(customer_tier=choice.tier, value=opportunity.value),
                unique_key=promotion_key(opportunity.customer_id, choice.promotion_id).id,
                session=session,
            )
        session.commit()
    return result


def _why_no_mail(choice: OfferChoice) -> str | None:
    if choice.tier is None:
        return "no customer"
    if choice.email is None:
        return "the customer has no e-mail address"
    if choice.unsubscribed:
        return "the customer has unsubscribed"
    return None
