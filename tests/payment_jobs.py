"""Attempts of `process_payment` and the payment's row, for the tests of payments."""

from __future__ import annotations

import asyncio
from typing import Any

from crm_rows import rows

from models import registry


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
