"""Payloads of `process_payment`: what is refused at the door, and card numbers found wherever they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from crm_rows import rows
from hypothesis import example, given
from hypothesis import strategies as st
from stripe_server import VISA

from models import InvalidJobError, door, job_queue, registry
from models.card_numbers import holds_card_number, without_secrets

pytestmark = pytest.mark.usefixtures("database")


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


@given(digits=st.text("0123456789", min_size=12, max_size=40), before=st.text(), after=st.text())
@example(digits=VISA, before=f"{VISA}{VISA}", after="")
def test_a_long_run_of_digits_is_found_and_masked_wherever_it_is(digits: str, before: str, after: str) -> None:
    text = f"{before} {digits} {after}"
    assert holds_card_number([{"x": text}]) and holds_card_number({text: None})
    assert digits not in without_secrets(text)
