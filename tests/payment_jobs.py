"""Attempts of `process_payment`, the payment's row and a Stripe to charge at, for the tests of payments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from crm_rows import add_customer, rows
from stripe_server import KEY, StripeProxy, StripeServer, stripe_server

from models import registry


@pytest.fixture(scope="module")
def localstripe() -> Iterator[StripeServer]:
    with stripe_server() as running:
        yield running


@pytest.fixture
def stripe(localstripe: StripeServer, database: str, configure: Any) -> Iterator[StripeProxy]:
    """An empty Stripe behind a proxy, as the settings name it, and a customer."""
    localstripe.forget()
    add_customer()
    with StripeProxy(localstripe) as proxy:
        configure(STRIPE_API_KEY=KEY, STRIPE_API_BASE=proxy.url)
        yield proxy


def values(card: str, **payload: Any) -> dict[str, Any]:
    """A payload that can be charged."""
    always = {"invoice_id": "i-1", "customer_id": "c1", "amount": "12.50", "currency": "usd"}
    return {**always, "payment_method": card, **payload}


def job(card: str, **payload: Any) -> Any:
    """One attempt, to be awaited."""
    process_payment = registry.load()["process_payment"]
    return process_payment.run(process_payment.payload.model_validate(values(card, **payload)))


def run(card: str, **payload: Any) -> Any:
    return asyncio.run(job(card, **payload))


def payment(*columns: str) -> tuple[Any, ...]:
    """The row of the only payment."""
    (row,) = rows(f"SELECT {', '.join(columns)} FROM payments")
    return row
