"""Charging an invoice once, whatever dies, times out or runs at the same time.

A PaymentIntent is made *unconfirmed*: no money moves. Its id is committed to the payment's row, and only then is it
confirmed. So after a crash or a time-out there is exactly one intent that may have charged, and Stripe is asked about
it by its id before anything else happens:

    row without an intent         nothing can have been charged; an intent that was made and not recorded is never
                                  confirmed, and with Stripe's idempotency key it is the same one anyway
    row with an intent            retrieve it: succeeded is written down, requires_confirmation is confirmed (again)

Confirming twice is safe: an intent makes at most one successful charge. Nothing rests on the idempotency key, which
Stripe forgets after a day. Nor on Stripe's search, which by its own documentation lags by a minute, in an outage by an
hour, and is not for reading what was just written; retrieving by id is consistent at once. Nor on the lock, which only
saves work: of two workers without it, one gets its intent recorded, and both confirm that one.

A declined or canceled intent is taken out of play before another one is made: when somebody retries the job, or adds
another one for the invoice, perhaps with another card.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from models.exclusive import AlreadyRunningError, exclusive
from models.money import minor_units
from models.payments import (
    PAID,
    PaymentState,
    PaymentStatus,
    Terms,
    begin_payment,
    record_doubt,
    record_intent,
    renew_payment,
    settle_payment,
)
from tasks.context import current_job, stage
from tasks.errors import PermanentError, Snooze
from tasks.services.no_return import point_of_no_return, to_its_end
from tasks.services.service import ServiceHeld
from tasks.services.stripe_payments import (
    CardDeclinedError,
    Intent,
    NewIntent,
    StripeDownError,
    StripePayments,
    StripeRefusedError,
)

#: How long a job waits for another one that pays the same invoice; most charges take under 3 s.
PATIENCE_SECONDS = 10.0
#: A bank that takes its time is asked about again after a minute, and then when as long again has passed: after 1, 2,
#: 4 ... minutes. But every hour: a debit takes days, and who waits for the money wants to know within the hour.
SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 60.0, 3600.0
#: Each round of `_settled` ends or changes the row; another one follows a lost race or a renewal.
_MOST_ROUNDS = 5
#: The bank's code where the customer would have to be there.
AUTHENTICATION_REQUIRED = "authentication_required"


class NotChargedError(PermanentError):
    """The invoice was not charged, and a retry by itself would not change that."""


async def charge_once(terms: Terms, stripe: StripePayments) -> tuple[PaymentState, Intent | None]:
    """Charges the invoice unless it is paid.

    Returns:
        The payment, and the intent that paid it just now; None: it had been paid before.

    Raises:
        NotChargedError, CardDeclinedError, StripeRefusedError: for good.
        Snooze: Stripe or another job is at it.
        StripeDownError, StripeBusyError: nobody knows; the next attempt asks Stripe first.
    """
    try:
        async with exclusive(f"payment {terms.invoice_id}", patience=PATIENCE_SECONDS):
            for _ in range(_MOST_ROUNDS):
                done = await _settled(terms, stripe)
                if done is not None:
                    return done
    except AlreadyRunningError:
        raise Snooze(f"invoice {terms.invoice_id!r}: another job is paying it", seconds=PATIENCE_SECONDS) from None
    raise Snooze(f"invoice {terms.invoice_id!r}: other jobs keep changing its payment", seconds=PATIENCE_SECONDS)


async def _settled(terms: Terms, stripe: StripePayments) -> tuple[PaymentState, Intent | None] | None:
    """One look at the row and the step that follows from it; None: look again."""
    with stage("fetch"):
        payment = await begin_payment(terms, _job_id())
    if payment is None:
        raise NotChargedError(f"there is no customer {terms.customer_id!r:.100}: it was deleted, or the id is wrong")
    if payment.status in PAID:
        return _as_asked(payment, terms), None
    if payment.untold:
        raise _over(payment, payment.status, payment.error_code)
    if payment.payment_intent_id is None:
        begun = await _begun(payment, terms, stripe)
        if begun is None:
            return None
        intent, payment = begun, replace(payment, payment_intent_id=begun.id)
    else:
        with stage("work"):
            intent = await stripe.retrieve(payment.payment_intent_id)
    if _may_go_on(payment, terms, intent):
        if intent.status == "requires_confirmation":
            with stage("record"):
                if not await record_doubt(payment, intent.id):
                    return None
            return await to_its_end(partial(_confirmed_and_recorded, payment, intent, terms, stripe))
        return await _recorded(payment, intent, terms)
    if intent.status != "canceled":
        intent = await _canceled(intent, stripe)
    if intent.status == "canceled":
        await renew_payment(payment, terms, _job_id())
        return None
    return await _recorded(payment, intent, terms)


def _may_go_on(payment: PaymentState, terms: Terms, intent: Intent) -> bool:
    """Whether the intent is the one to go by; else it makes way for another."""
    if intent.status in ("succeeded", "processing"):
        return True
    if intent.status in ("canceled", "requires_payment_method"):
        # News, if the row does not know: this run reports it. Known already, the job was retried on purpose.
        news = payment.status not in (PaymentStatus.CANCELED, PaymentStatus.DECLINED)
        return news and payment.terms == terms
    return payment.terms == terms


async def _begun(payment: PaymentState, terms: Terms, stripe: StripePayments) -> Intent | None:
    """The try's intent, not confirmed, its id written down; None: look at the row again."""
    if payment.terms != terms:
        await renew_payment(payment, terms, _job_id())
        return None
    wanted = NewIntent(
        amount=minor_units(f"{terms.amount:f}", terms.currency),
        currency=terms.currency,
        payment_method=terms.payment_method,
        stripe_customer=terms.stripe_customer,
        metadata={
            "payment_id": payment.id,
            "invoice_id": terms.invoice_id,
            "customer_id": terms.customer_id,
            "job_id": payment.job_id or "",
        },
    )
    try:
        with stage("work"):
            intent = await stripe.create(wanted, idempotency_key=payment.idempotency_key)
    except (StripeDownError, ServiceHeld) as error:
        # Of those under way when the breaker opens, the answer is the cause of their being put off.
        down = error if isinstance(error, StripeDownError) else error.__cause__
        if isinstance(down, StripeDownError) and down.answered:
            # To the same key Stripe would give the same 5xx for a day: each such job would fail its trial.
            await renew_payment(payment, terms, _job_id())
        raise
    with stage("record"):
        return intent if await record_intent(payment, intent.id) else None


async def _confirmed_and_recorded(
    payment: PaymentState, intent: Intent, terms: Terms, stripe: StripePayments
) -> tuple[PaymentState, Intent]:
    """Asks Stripe to charge. Cancelled meanwhile, whether the money was taken is written down all the same."""
    point_of_no_return()
    return await _recorded(payment, await _confirmed(payment, intent, stripe), terms)


async def _confirmed(payment: PaymentState, intent: Intent, stripe: StripePayments) -> Intent:
    """The intent after Stripe was asked to charge."""
    try:
        with stage("work"):
            return await stripe.confirm(intent.id)
    except CardDeclinedError as error:
        with stage("record"):
            await settle_payment(
                payment, intent.id, PaymentStatus.DECLINED, job_id=_job_id(), error_code=error.code
            )
        raise _over(payment, PaymentStatus.DECLINED, error.code, str(error)) from None
    except StripeRefusedError as error:
        # Perhaps because an earlier confirmation, of which nobody heard, got through.
        now = await stripe.retrieve(intent.id)
        if now.status == "requires_confirmation":
            await settle_payment(payment, intent.id, PaymentStatus.PENDING, job_id=_job_id())
            raise StripeRefusedError(f"invoice {payment.terms.invoice_id!r}: {error}") from None
        return now


async def _canceled(intent: Intent, stripe: StripePayments) -> Intent:
    """The intent out of play, or as it is because it cannot be canceled any more."""
    try:
        with stage("work"):
            return await stripe.cancel(intent.id)
    except StripeRefusedError:
        now = await stripe.retrieve(intent.id)
        if now.status not in ("succeeded", "processing", "canceled"):
            raise
        return now


async def _recorded(payment: PaymentState, intent: Intent, terms: Terms) -> tuple[PaymentState, Intent]:
    """Writes down how the intent stands, and ends the job accordingly."""
    status = _STATUSES.get(intent.status)
    if status is None:
        raise NotChargedError(
            f"invoice {terms.invoice_id!r}: Stripe has {intent.id!r} as {intent.status!r:.50}, which is none of ours: "
            "look at it in Stripe's dashboard"
        )
    with stage("record"):
        waited = await settle_payment(
            payment,
            intent.id,
            status,
            job_id=_job_id(),
            charge_id=intent.charge_id,
            error_code=None if status is PaymentStatus.SUCCEEDED else intent.error_code,
        )
    if status is PaymentStatus.SUCCEEDED:
        return _as_asked(payment, terms), intent
    if status is PaymentStatus.PROCESSING:
        seconds = min(max(waited, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
        raise Snooze(f"invoice {terms.invoice_id!r}: the bank is still at {intent.id!r}", seconds=seconds)
    raise _over(payment, status, intent.error_code)


_STATUSES = {
    "succeeded": PaymentStatus.SUCCEEDED,
    "processing": PaymentStatus.PROCESSING,
    "requires_action": PaymentStatus.REQUIRES_ACTION,
    "requires_payment_method": PaymentStatus.DECLINED,
    "canceled": PaymentStatus.CANCELED,
}


def _over(payment: PaymentState, status: PaymentStatus, error_code: str | None, said: str = "") -> PermanentError:
    """Why the invoice was not charged, and what to do. `said`: Stripe's own words."""
    invoice, intent = f"invoice {payment.terms.invoice_id!r}", payment.payment_intent_id
    if status is PaymentStatus.REQUIRES_ACTION or error_code == AUTHENTICATION_REQUIRED:
        what = (
            "the customer's bank asks the customer to confirm the payment (3-D Secure): let the customer do so, then "
            f"retry this job, or add one with another card ({intent!r})"
        )
    elif status is PaymentStatus.DECLINED:
        what = f"the card was declined ({error_code}): retry this job to try it again, or add one with another card"
    else:
        what = f"{intent!r} was canceled in Stripe: retry this job to charge it all the same"
    message = f"{invoice}: {what}" + (f" [{said}]" if said else "")
    if status is PaymentStatus.DECLINED:
        return CardDeclinedError(message, error_code or "card_declined")
    return NotChargedError(message)


def _as_asked(payment: PaymentState, terms: Terms) -> PaymentState:
    """The payment, if it is of the sum that this job was to charge."""
    paid, asked = payment.terms, terms
    if (paid.amount, paid.currency) != (asked.amount, asked.currency):
        raise NotChargedError(
            f"invoice {asked.invoice_id!r} was paid with {paid.amount.normalize():f} {paid.currency}, and this job "
            f"asks for {asked.amount.normalize():f} {asked.currency}: nothing more was charged"
        )
    return payment


def _job_id() -> str | None:
    job = current_job()
    return job.id if job is not None else None
