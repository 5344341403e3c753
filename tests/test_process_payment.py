"""Job type `process_payment`: what is charged, what is refused, and what anybody gets to read of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from crm_rows import add_customer, execute, rows
from hypothesis import given
from hypothesis import strategies as st
from stripe_server import ASKS, DECLINED, KEY, VISA, Answer, Asked, StripeProxy, StripeServer, stripe_server

from models import InvalidJobError, door, job_queue, registry
from models.card_numbers import holds_card_number, without_secrets
from models.money import MOST_MINOR_UNITS, decimals, minor_units
from models.outcomes import Failure, fingerprint
from models.settings import Settings, SettingsError, settings
from tasks import PermanentError, Snooze
from tasks.services.service import FAILURES_THAT_OPEN, ServiceHeld, forget_all
from tasks.services.stripe_payments import CardDeclinedError, StripeBusyError, StripeDownError

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module")
def server() -> Iterator[StripeServer]:
    with stripe_server() as running:
        yield running


@pytest.fixture
def stripe(server: StripeServer, database: str, configure: Any) -> Iterator[StripeProxy]:
    """An empty Stripe behind a proxy, as the settings name it, and a customer."""
    server.forget()
    add_customer()
    with StripeProxy(server) as proxy:
        configure(STRIPE_API_KEY=KEY, STRIPE_API_BASE=proxy.url)
        yield proxy


def attempt(card: str, **payload: Any) -> Any:
    """One attempt of a job, to be awaited."""
    process_payment = registry.load()["process_payment"]
    values = {"invoice_id": "i-1", "customer_id": "c1", "amount": "12.50", "currency": "usd", "payment_method": card}
    return process_payment.run(process_payment.payload.model_validate({**values, **payload}))


def run(card: str, **payload: Any) -> Any:
    return asyncio.run(attempt(card, **payload))


def payment(*columns: str) -> tuple[Any, ...]:
    (row,) = rows(f"SELECT {', '.join(columns)} FROM payments")
    return row


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
            *(attempt(card, invoice_id=f"i-{number}") for number in range(jobs)), return_exceptions=True
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


GOOD = {"invoice_id": "i-1", "customer_id": "c1", "amount": "12.50", "currency": "usd", "payment_method": "pm_1"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"payment_method": VISA}, "no card number"),
    ({"invoice_id": f"invoice {VISA}"}, "no card number"),
    ({"invoice_id": "4242 4242 4242 4242"}, "no card number"),
    ({"invoice_id": "3782-822463-10005"}, "no card number"),
    ({"card": {"number": int(VISA)}}, "no card number"),
    ({VISA: "x"}, "no card number"),
    ({"notes": [{"deep": [VISA]}]}, "no card number"),
    ({"card": "x"}, "a field: Extra inputs"),
    ({"payment_method": "tok_visa"}, "payment_method: String should match"),
    ({"payment_method": "pm_1\n"}, "payment_method: String should match"),
    ({"stripe_customer": "pm_1"}, "stripe_customer: String should match"),
    ({"amount": 12.5}, "amount: Input should be a valid string"),
    ({"amount": "-1"}, "amount: String should match"),
    ({"amount": "1e3"}, "amount: String should match"),
    ({"amount": "1,000.00"}, "amount: String should match"),
    ({"amount": "NaN"}, "amount: String should match"),
    ({"amount": "٣"}, "amount: String should match"),
    ({"amount": "0.00"}, "amount: expected more than 0"),
    ({"amount": "1000000"}, "at most 999999.99 usd"),
    ({"amount": "1.001"}, "at most 2 decimals in usd"),
    ({"amount": "1.5", "currency": "jpy"}, "at most 0 decimals in jpy"),
    ({"amount": "1.234", "currency": "kwd"}, "at most 2 decimals in kwd"),
    ({"currency": "dollars"}, "currency: String should match"),
    ({"invoice_id": ""}, "invoice_id: String should have at least 1"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD)
def test_a_payload_that_cannot_be_charged_is_refused_at_the_door(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJobError) as refused:
        job_queue.add_job(type="process_payment", payload={**GOOD, **wrong})
    text = str(refused.value)
    assert message in text
    assert not holds_card_number(text) and VISA[:6] not in text and "tok_visa" not in text
    assert rows("SELECT * FROM background_jobs") == []


def test_a_door_that_knows_only_the_schema_refuses_card_numbers_and_shows_none() -> None:
    schema = json.loads(registry._schema(registry.load()["process_payment"].payload))
    checks = door._DeclaredType("process_payment", 3, None, schema)

    checks.check(json.dumps(GOOD))
    for wrong in ({"payment_method": f"pm_{VISA}"}, {"invoice_id": VISA}, {VISA: 1}, {"amount": VISA}):
        with pytest.raises(InvalidJobError) as refused:
            checks.check(json.dumps({**GOOD, **wrong}))
        assert not holds_card_number(str(refused.value))


def test_ids_with_digits_are_no_card_numbers() -> None:
    ids = ["550e8400-e29b-41d4-a716-446655440000", "2026-000001-000123", "pm_1MqLiJLkdIwHu7ixUEgbFdYF", 12345678901]
    for fine in ids:
        assert not holds_card_number({"id": fine})


@given(digits=st.text("0123456789", min_size=12, max_size=19), before=st.text(), after=st.text())
def test_a_long_run_of_digits_is_found_and_masked_wherever_it_is(digits: str, before: str, after: str) -> None:
    text = f"{before} {digits} {after}"
    assert holds_card_number([{"x": text}]) and holds_card_number({text: None})
    assert digits not in without_secrets(text)


CURRENCIES = st.sampled_from(["usd", "eur", "GBP", "jpy", "krw", "kwd", "BHD", "isk", "ugx", "huf"])


@given(units=st.integers(1, MOST_MINOR_UNITS), currency=CURRENCIES)
def test_amounts_are_converted_exactly_or_refused(units: int, currency: str) -> None:
    """Written out with the currency's decimals, each sum is the minor units it is made of, and no other."""
    shown = decimals(currency)
    amount = f"{Decimal(units).scaleb(-shown):f}"
    factor = {"kwd": 10, "bhd": 10, "isk": 100, "ugx": 100}.get(currency.lower(), 1)
    if units * factor > MOST_MINOR_UNITS:
        with pytest.raises(ValueError, match="at most"):
            minor_units(amount, currency)
    else:
        assert minor_units(amount, currency) == units * factor
        if shown:
            assert minor_units(amount.rstrip("0").rstrip("."), currency) == units * factor
    with pytest.raises(ValueError, match="at most|decimal text"):
        minor_units(f"{amount}{'' if shown else '.'}001", currency)


@given(amount=st.text(max_size=15) | st.floats().map(str) | st.decimals().map(str), currency=CURRENCIES)
def test_whatever_is_taken_for_an_amount_is_worth_what_it_says(amount: str, currency: str) -> None:
    try:
        units = minor_units(amount, currency)
    except ValueError:
        return
    assert 0 < units <= MOST_MINOR_UNITS
    exponent = {0: 2 if currency.lower() in ("isk", "ugx") else 0, 2: 3 if currency.lower() in ("kwd", "bhd") else 2}
    assert Decimal(units).scaleb(-exponent[decimals(currency)]) == Decimal(amount)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_KEY", "pk_live_1234567890"),
        ("STRIPE_API_KEY", "sk_live_12345 67890"),
        ("STRIPE_API_BASE", "http://stripe.example.com"),
        ("STRIPE_API_BASE", "https://user:geheim@api.stripe.com"),
        ("STRIPE_API_BASE", "ftp://geheim"),
        ("STRIPE_API_BASE", "https://api.stripe.com/?key=geheim"),
        ("PAYMENT_CURRENCY", "dollar"),
    ],
)
def test_wrong_settings_are_refused_and_secrets_not_shown(name: str, value: str, configure: Any) -> None:
    configure(**{name: value})
    with pytest.raises(SettingsError, match=f"{name}=.*expected") as refused:
        settings()
    assert "geheim" not in str(refused.value) and "67890" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://api.stripe.com/", "http://127.0.0.1:8420", "http://localhost:1", "http://[::1]:12111"]
)
def test_stripe_may_be_reached_encrypted_or_on_loopback(url: str) -> None:
    assert Settings(STRIPE_API_BASE=url).stripe_api_base == url.rstrip("/")
