"""Job type `process_opportunity_offer`: makes the offers of a batch of opportunities and queues the mails with them."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from models import calculate_priority, database, job_queue
from models.crm import OPEN_STATUSES
from models.offers import (
    LockedOpportunity,
    NewOffer,
    OfferChoice,
    amount_after,
    choose_offers,
    lock_opportunities,
    make_offers,
)
from models.promotions import promotion_key
from tasks import Payload, PermanentError, processor, stage
from tasks.send_promotion import Id, PromotionPayload, send_promotion

Result = dict[str, Any] | PermanentError


class OpportunityPayload(Payload):
    opportunity_id: Id


# A `def`: all of it is one short transaction on one connection, and `add_batch(session=...)` takes part in it as it is.
@processor(retries=3)
def process_opportunity_offer(payloads: list[OpportunityPayload]) -> list[Result]:
    """Offers the best promotion for an open opportunity, moves it to `proposal` and queues the customer's mail.

    The best promotion is active, meant for the customer's tier or for all, and its minimum value and age are reached by
    the opportunity (an unknown value counts as 0); of these the one with the highest discount, and of equals the first
    by id. An opportunity has one offer: run twice, the job changes nothing and adds no second mail. A batch of jobs is
    one transaction of five statements.

    Without a customer, an address or the customer's consent the offer is made all the same, and the result says in
    `no_mail` why none was queued. Of what is won, lost or has an offer, or when no promotion fits, it says `skipped`.
    """
    ids = [payload.opportunity_id for payload in payloads]
    with database.session() as session:
        with stage("fetch"):
            found = lock_opportunities(session, sorted(set(ids)))
            choices = choose_offers(session, list(found.values()))
        results: dict[str, Result] = {id_: _unknown(id_) for id_ in ids if id_ not in found}
        wanted: dict[str, NewOffer] = {}
        with stage("work"):
            for id_, opportunity in found.items():
                offer = _offer(opportunity, choices[id_])
                if isinstance(offer, NewOffer):
                    wanted[id_] = offer
                else:
                    results[id_] = offer
        with stage("record"):
            made = make_offers(session, list(wanted.values())) if wanted else {}
            mails = _queue_mails(session, [found[id_] for id_ in made], choices)
            session.commit()
    for id_, offer in wanted.items():
        results[id_] = _made(made[id_], offer) | mails[id_] if id_ in made else {"skipped": "has an offer"}
    return _in_turn(ids, results, made)


def _offer(opportunity: LockedOpportunity, choice: OfferChoice) -> NewOffer | dict[str, Any]:
    """The offer to be made, or why none is."""
    if opportunity.status not in OPEN_STATUSES:
        return {"skipped": f"the opportunity is {opportunity.status}"}
    if choice.offer_id is not None:
        return {"skipped": "has an offer", "offer_id": choice.offer_id}
    if choice.promotion_id is None or choice.discount_percent is None:
        return {"skipped": "no promotion fits"}
    amount = amount_after(opportunity.value, choice.discount_percent)
    return NewOffer(opportunity.id, choice.promotion_id, choice.discount_percent, amount)


def _queue_mails(
    session: Session, opportunities: list[LockedOpportunity], choices: dict[str, OfferChoice]
) -> dict[str, dict[str, Any]]:
    """Queues the mails with the offers; what to add to each opportunity's result."""
    notes: dict[str, dict[str, Any]] = {}
    jobs: dict[str, dict[str, Any]] = {}
    for opportunity in opportunities:
        choice = choices[opportunity.id]
        no_mail = _why_no_mail(choice)
        if no_mail is not None or opportunity.customer_id is None or choice.promotion_id is None:
            notes[opportunity.id] = {"no_mail": no_mail}
            continue
        jobs[opportunity.id] = {
            "type": send_promotion.name,
            "payload": PromotionPayload(
                customer_id=opportunity.customer_id,
                promotion_id=choice.promotion_id,
                opportunity_id=opportunity.id,
            ),
            "priority": calculate_priority(customer_tier=choice.tier, value=opportunity.value),
            "unique_key": promotion_key(opportunity.customer_id, choice.promotion_id).id,
        }
    added = job_queue.add_batch(jobs.values(), session=session)
    return notes | {id_: {"mail_job_id": job_id} for id_, job_id in zip(jobs, added, strict=True)}


def _made(offer_id: str, offer: NewOffer) -> dict[str, Any]:
    return {
        "offer_id": offer_id,
        "promotion_id": offer.promotion_id,
        "discount_percent": str(offer.discount_percent),
        "amount": str(offer.amount),
    }


def _in_turn(ids: list[str], results: dict[str, Result], made: dict[str, str]) -> list[Result]:
    """The result of each job; a second one for the same opportunity finds the offer that the first has made."""
    seen: set[str] = set()
    ordered: list[Result] = []
    for id_ in ids:
        again = id_ in seen and id_ in made
        ordered.append({"skipped": "has an offer", "offer_id": made[id_]} if again else results[id_])
        seen.add(id_)
    return ordered


def _unknown(opportunity_id: str) -> PermanentError:
    return PermanentError(f"there is no opportunity {opportunity_id!r:.100}: it was deleted, or the id is wrong")


def _why_no_mail(choice: OfferChoice) -> str | None:
    if choice.tier is None:
        return "no customer"
    if choice.email is None:
        return "the customer has no e-mail address"
    if choice.unsubscribed:
        return "the customer has unsubscribed"
    return None
