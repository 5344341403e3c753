"""Job type `process_payment`: charges an invoice to a customer's saved card, by Stripe, once."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from prefect.tasks import exponential_backoff
from pydantic import ConfigDict, Field, model_validator

from models.card_numbers import CARD_DIGITS_PATTERN, holds_card_number
from models.money import AMOUNT_PATTERN, CURRENCY_PATTERN, minor_units
from models.payments import Terms
from models.settings import settings
from tasks import Payload, PermanentError, processor
from tasks.services.charge import charge_once
from tasks.services.stripe_payments import stripe_payments

#: Five requests to Stripe at up to 30 s each (a declined intent is read and canceled, another made, confirmed and
#: read), and the wait for another job.
TIMEOUT_SECONDS = 180.0

#: For the door of processes that have only the schema.
_NO_CARD: dict[str, Any] = {"not": {"pattern": CARD_DIGITS_PATTERN}}
Id = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=_NO_CARD)]


class PaymentPayload(Payload):
    # What was put where it does not belong may be a card number: no message shows it.
    model_config = ConfigDict(hide_input_in_errors=True)

    invoice_id: Id = Field(description="Charged once; parts of an invoice are invoices of their own ('i-1/2').")
    customer_id: Id = Field(description="The CRM's customer.")
    amount: str = Field(pattern=AMOUNT_PATTERN, description='In the currency\'s major unit, as text: "12.50".')
    currency: str | None = Field(
        None, pattern=CURRENCY_PATTERN, description="ISO 4217; left out: PAYMENT_CURRENCY."
    )
    payment_method: str = Field(
        pattern=r"^pm_[A-Za-z0-9_]{1,200}$",
        description="Stripe's id of a saved card (pm_...), never a card number.",
        json_schema_extra=_NO_CARD,
    )
    stripe_customer: str | None = Field(
        None,
        pattern=r"^cus_[A-Za-z0-9]{1,200}$",
        description="Whom Stripe has the card saved for (cus_...).",
        json_schema_extra=_NO_CARD,
    )

    @model_validator(mode="before")
    @classmethod
    def _holds_no_card_number(cls, value: Any) -> Any:
        if holds_card_number(value):
            raise ValueError(
                "expected no card number, got 12 or more digits in a row: save the card with Stripe and give its "
                "pm_... id; delete whatever holds the number"
            )
        return value

    @model_validator(mode="after")
    def _can_be_charged(self) -> PaymentPayload:
        if self.currency is not None:
            minor_units(self.amount, self.currency)
        return self


@processor(
    retries=6,
    # 5 s to 160 s and up to half as much again, five minutes in all: an outage of Stripe's is seldom longer.
    retry_delay_seconds=exponential_backoff(5),
    retry_jitter_factor=0.5,
    timeout_seconds=TIMEOUT_SECONDS,
    services=("stripe",),
)
async def process_payment(payload: PaymentPayload) -> dict[str, str]:
    """Charges an invoice to a customer's saved card, once, however often the job runs or is added.

    A declined card, or a bank that asks the customer to confirm, fails the job for good; after a time-out or a crash
    Stripe is asked what became of the charge before it is asked for another. An invoice that is paid already is not
    charged again; the result then says `skipped`.
    """
    stripe = stripe_payments()
    currency = (payload.currency or settings().payment_currency).lower()
    try:
        minor_units(payload.amount, currency)
    except ValueError as error:
        raise PermanentError(f"invoice {payload.invoice_id!r}: {error}") from None
    terms = Terms(
        invoice_id=payload.invoice_id,
        customer_id=payload.customer_id,
        amount=Decimal(payload.amount),
        currency=currency,
        payment_method=payload.payment_method,
        stripe_customer=payload.stripe_customer,
    )
    payment, intent = await charge_once(terms, stripe)
    result = {"payment_id": payment.id, "amount": payload.amount, "currency": currency}
    if intent is None:
        return {**result, "skipped": "already paid"}
    return {**result, "payment_intent": intent.id}
