"""What Stripe's answers mean for a payment, and what anybody gets to read of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from payment_jobs import job, run
from stripe_server import KEY, VISA, Answer, Asked, StripeProxy

from models.outcomes import Failure, fingerprint
from tasks import PermanentError
from tasks.services.service import FAILURES_THAT_OPEN, ServiceHeld, forget_all
from tasks.services.stripe_payments import CardDeclinedError, StripeBusyError, StripeDownError

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer.error(401, "invalid_request_error", f"Invalid API Key provided: {KEY}"), PermanentError,
         "Stripe: create refused the key: Invalid API Key provided: *** ['req_test'] Put the account's key into STR"),
        (Answer.error(403, "invalid_request_error", "No permission"), PermanentError, "STRIPE_API_KEY"),
        (Answer.error(404, "invalid_request_error", "No such payment method", code="resource_missing"), PermanentError,
         "Stripe: create refused (resource_missing): No such payment method"),
        (Answer.error(429, "invalid_request_error", "Too many"), StripeDownError, "too many requests"),
        (Answer.error(429, "invalid_request_error", "Locked", code="lock_timeout"), StripeBusyError, "has to wait"),
        (Answer.error(409, "invalid_request_error", "Key in use"), StripeBusyError, "has to wait: Key in use"),
        (Answer.error(500, "api_error", "Sorry"), StripeDownError, "create failed (HTTP 500): Sorry"),
        (Answer(502, "<html>Bad gateway</html>"), StripeDownError, "create failed (HTTP 502)"),
        (Answer(200, "<html>Log in to the Wi-Fi</html>"), StripeDownError, "create failed (HTTP 200)"),
    ],
)  # fmt: skip
def test_what_stripes_answers_mean(
    stripe: StripeProxy, answer: Answer, kind: type[Exception], message: str
) -> None:
    card = stripe.server.card()
    stripe.before = lambda asked: answer
    with pytest.raises(kind) as refused:
        run(card)
    assert message in str(refused.value)

    # Whatever it was: once it is mended, the invoice is charged.
    stripe.before = lambda asked: None
    run(card)
    assert len(stripe.server.charges()) == 1


def test_after_a_5xx_stripe_is_asked_with_another_key_as_it_repeats_its_answer_to_the_first(
    stripe: StripeProxy,
) -> None:
    answers: dict[str, Answer] = {}

    def repeat(asked: Asked) -> Answer | None:
        if asked.operation != "create":
            return None
        key = asked.headers["idempotency-key"]
        return answers.setdefault(key, Answer(500, "{}")) if not answers or key in answers else None

    stripe.before = repeat
    card = stripe.server.card()
    with pytest.raises(StripeDownError):
        run(card)
    run(card)

    assert len(stripe.server.charges()) == 1


def test_those_put_off_by_the_breaker_after_a_5xx_ask_with_another_key_too(stripe: StripeProxy) -> None:
    """More are under way than it takes to open the breaker; the others must not bring the 5xx back as its trials."""
    jobs = FAILURES_THAT_OPEN + 3
    refused: set[str] = set()
    all_here = threading.Barrier(jobs)

    def repeat(asked: Asked) -> Answer | None:
        if asked.operation != "create":
            return None
        key = asked.headers["idempotency-key"]
        if len(refused) < jobs:
            all_here.wait(60)
            refused.add(key)
        return Answer(500, "{}") if key in refused else None

    async def at_once() -> list[Any]:
        return await asyncio.gather(
            *(job(card, invoice_id=f"i-{number}") for number in range(jobs)), return_exceptions=True
        )

    stripe.before = repeat
    card = stripe.server.card()
    outcomes = asyncio.run(at_once())
    assert [type(outcome) for outcome in outcomes].count(ServiceHeld) == jobs - FAILURES_THAT_OPEN
    forget_all()

    assert all("payment_intent" in outcome for outcome in asyncio.run(at_once()))
    assert len(stripe.server.charges()) == jobs


def test_neither_a_card_number_nor_a_key_gets_out_of_stripes_messages(stripe: StripeProxy) -> None:
    said = f"Card {VISA} and 4242 4242 4242 4242 for {KEY}, pk_live_abc, whsec_abc\x00\n pi_1_secret_abc {'x' * 999}"
    stripe.before = lambda asked: Answer.error(402, "card_error", said, code=VISA, decline_code=f"{VISA}_{KEY}")
    with pytest.raises(CardDeclinedError) as declined:
        run(stripe.server.card())
    text = str(declined.value)
    assert "Card *** and *** for ***, ***, *** pi_1***" in text
    assert len(text) < 600 and text.isprintable()
    assert declined.value.__cause__ is None and declined.value.__suppress_context__


def test_two_declined_invoices_are_occurrences_of_one_error(stripe: StripeProxy) -> None:
    groups = set()
    for number, invoice in enumerate(["INV-abc", "anna/7"]):
        body = {"error": {"type": "card_error", "message": "Your card was declined.", "code": "card_declined"}}
        refused = Answer(402, body, (("Request-Id", f"req_{'xy'[number]}{number}"),))
        stripe.before = lambda asked, answer=refused: answer if asked.operation == "confirm" else None
        with pytest.raises(CardDeclinedError) as declined:
            run(stripe.server.card(), invoice_id=invoice)
        groups.add(fingerprint("process_payment", Failure.of(declined.value)))
    assert len(groups) == 1
