"""Job type `process_payment`: what is charged, and what is refused for good or put off."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from crm_rows import add_customer, execute, rows
from payment_jobs import payment, run
from stripe_server import ASKS, DECLINED, Answer, StripeProxy

from tasks import PermanentError, Snooze
from tasks.services.stripe_payments import CardDeclinedError, StripeDownError

pytestmark = pytest.mark.usefixtures("database")


def test_an_invoice_is_charged_and_the_row_says_so(stripe: StripeProxy) -> None:
    card = stripe.server.card()

    result = run(card)

    (charge,) = stripe.server.charges()
    assert (charge["amount"], charge["currency"], charge["payment_intent"]) == (1250, "usd", result["payment_intent"])
    assert payment("status", "payment_intent_id", "charge_id", "amount", "tries", "confirmations") == (
        "succeeded", result["payment_intent"], charge["id"], Decimal("12.5"), 1, 1,
    )  # fmt: skip
    assert payment("paid_at IS NOT NULL") == (True,)
    create, confirm = stripe.asked
    assert stripe.operations() == ["create", "confirm"]
    # Made without being charged; and the customer is not there when it is.
    assert "confirm" not in create.form and confirm.form == {"off_session": "true"}
    assert create.form["metadata[invoice_id]"] == "i-1"
    assert create.headers["idempotency-key"].endswith(".1")


def test_run_twice_or_added_twice_an_invoice_is_charged_once(stripe: StripeProxy) -> None:
    card = stripe.server.card()
    run(card)

    again = run(card)
    other = run(stripe.server.card(), customer_id="c1", amount="12.5")

    assert again["skipped"] == other["skipped"] == "already paid"
    assert len(stripe.server.charges()) == len(stripe.server.intents()) == 1


def test_a_paid_invoice_is_not_charged_the_rest_of_another_sum(stripe: StripeProxy) -> None:
    run(stripe.server.card())

    with pytest.raises(PermanentError, match=r"'i-1' was paid with 12.5 usd, and this job asks for 20 usd: nothing"):
        run(stripe.server.card(), amount="20.00")
    with pytest.raises(PermanentError, match="asks for 12.5 eur"):
        run(stripe.server.card(), currency="EUR")

    assert len(stripe.server.charges()) == 1


def test_a_refunded_invoice_is_not_charged_again(stripe: StripeProxy) -> None:
    run(stripe.server.card())
    execute("UPDATE payments SET status = 'refunded'")

    assert run(stripe.server.card())["skipped"] == "already paid"
    assert len(stripe.server.charges()) == 1


def test_a_declined_card_is_for_good_and_another_card_pays(stripe: StripeProxy) -> None:
    with pytest.raises(CardDeclinedError, match=r"invoice 'i-1': the card was declined \(card_declined\): retry this"):
        run(stripe.server.card(DECLINED))
    first = payment("payment_intent_id")[0]
    assert payment("status", "error_code", "paid_at") == ("declined", "card_declined", None)

    result = run(stripe.server.card())

    assert len(stripe.server.charges()) == 1
    assert payment("status", "tries", "earlier_intents", "error_code") == ("succeeded", 2, [first], None)
    # The declined one can never be charged any more.
    states = {intent["id"]: intent["status"] for intent in stripe.server.intents()}
    assert states == {first: "canceled", result["payment_intent"]: "succeeded"}


def test_a_corrected_sum_replaces_one_that_was_never_charged(stripe: StripeProxy) -> None:
    stripe.before = lambda asked: (
        Answer.error(400, "invalid_request_error", "Amount too small", code="amount_too_small")
        if asked.operation == "confirm"
        else None
    )
    with pytest.raises(PermanentError, match=r"invoice 'i-1': Stripe: confirm refused \(amount_too_small\)"):
        run(stripe.server.card(), amount="0.01")
    assert payment("status") == ("pending",)
    stripe.before = lambda asked: None

    run(stripe.server.card())

    assert [charge["amount"] for charge in stripe.server.charges()] == [1250]
    assert sorted(intent["status"] for intent in stripe.server.intents()) == ["canceled", "succeeded"]


def test_a_bank_that_asks_the_customer_is_for_good_and_says_what_to_do(stripe: StripeProxy) -> None:
    card = stripe.server.card(ASKS)

    with pytest.raises(PermanentError, match=r"bank asks the customer to confirm the payment \(3-D Secure\)"):
        run(card)
    with pytest.raises(PermanentError, match="3-D Secure"):
        run(card)
    assert payment("status") == ("requires_action",)

    # The customer did it meanwhile.
    (intent,) = stripe.server.intents()
    path = f"/v1/payment_intents/{intent['id']}/_authenticate"
    stripe.server.call("POST", path, client_secret=intent["client_secret"], success="true")

    assert run(card)["payment_intent"] == intent["id"]
    assert len(stripe.server.charges()) == 1
    assert stripe.operations().count("confirm") == 1


def test_the_banks_no_without_the_customer_says_that_too(stripe: StripeProxy) -> None:
    stripe.before = lambda asked: (
        Answer.error(402, "card_error", "This transaction requires authentication.", code="authentication_required")
        if asked.operation == "confirm"
        else None
    )
    with pytest.raises(CardDeclinedError, match=r"3-D Secure.*requires authentication\. \['req_test'\]"):
        run(stripe.server.card())
    assert payment("status", "error_code") == ("declined", "authentication_required")


def test_while_the_bank_is_at_it_the_job_waits_without_spending_an_attempt(stripe: StripeProxy) -> None:
    card = stripe.server.card()
    # As the bank's answer to the confirmation, and once more when it is asked for.
    stripe.after = lambda asked, answer: (
        Answer(200, {**answer.body, "status": "processing"})
        if asked.operation == "confirm" or stripe.operations().count("retrieve") == 1
        else answer
    )
    for _ in range(2):
        with pytest.raises(Snooze, match="the bank is still at 'pi_") as put_off:
            run(card)
        assert put_off.value.seconds == 60
        assert payment("status", "paid_at") == ("processing", None)

    run(card)

    assert payment("status") == ("succeeded",)
    assert stripe.operations().count("confirm") == 1
    assert len(stripe.server.charges()) == 1


def test_an_intent_that_somebody_canceled_is_charged_only_when_the_job_is_retried(stripe: StripeProxy) -> None:
    card = stripe.server.card()
    stripe.before = lambda asked: Answer(503, "busy") if asked.operation == "confirm" else None
    with pytest.raises(StripeDownError):
        run(card)
    stripe.before = lambda asked: None
    (intent,) = stripe.server.intents()
    stripe.server.call("POST", f"/v1/payment_intents/{intent['id']}/cancel")

    with pytest.raises(PermanentError, match=f"'{intent['id']}' was canceled in Stripe: retry this job"):
        run(card)
    assert stripe.server.charges() == []

    run(card)
    assert len(stripe.server.charges()) == 1


def test_an_intent_in_a_state_that_is_none_of_ours_is_left_to_people(stripe: StripeProxy) -> None:
    stripe.after = lambda asked, answer: (
        Answer(200, {**answer.body, "status": "requires_capture"}) if asked.operation == "confirm" else answer
    )
    with pytest.raises(PermanentError, match="as 'requires_capture', which is none of ours: look at it in Stripe"):
        run(stripe.server.card())


def test_an_intent_of_another_account_is_not_replaced_by_a_second_charge(stripe: StripeProxy) -> None:
    card = stripe.server.card()
    stripe.before = lambda asked: Answer(503, "busy") if asked.operation == "confirm" else None
    with pytest.raises(StripeDownError):
        run(card)
    stripe.before = lambda asked: None
    stripe.server.forget()

    with pytest.raises(PermanentError, match="retrieve refused: .*Is STRIPE_API_KEY of the account and mode it was"):
        run(stripe.server.card())
    assert stripe.server.intents() == []


def test_without_a_key_nothing_is_pretended(configure: Any) -> None:
    add_customer()
    with pytest.raises(PermanentError, match="STRIPE_API_KEY is not set: put the Stripe account's secret key"):
        run("pm_1")
    assert rows("SELECT * FROM payments") == []


def test_an_invoice_of_nobody_is_not_charged(stripe: StripeProxy) -> None:
    with pytest.raises(PermanentError, match="there is no customer 'gone'"):
        run(stripe.server.card(), customer_id="gone")
    assert stripe.asked == []


def test_the_currency_is_the_payloads_or_the_setting(stripe: StripeProxy, configure: Any) -> None:
    configure(PAYMENT_CURRENCY="JPY")
    run(stripe.server.card(), currency=None, amount="500")
    run(stripe.server.card(), invoice_id="i-2", currency="KWD", amount="5.12")
    with pytest.raises(PermanentError, match="expected at most 0 decimals in jpy, got 12.50"):
        run(stripe.server.card(), invoice_id="i-3", currency=None)

    charged = {(charge["currency"], charge["amount"]) for charge in stripe.server.charges()}
    assert charged == {("jpy", 500), ("kwd", 5120)}
