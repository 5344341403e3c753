"""Asking Stripe: making, reading, confirming and canceling PaymentIntents.

What an error means is decided in `_refusal`, and nowhere else: a declined card, a refused request or a wrong key is
for good; no answer, a 5xx or a spent rate counts as Stripe being down. Stripe's own messages lose all that looks like a
card number or a key.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import stripe
from stripe import HTTPXClient, StripeClient

from models.card_numbers import without_secrets
from models.settings import settings
from tasks.errors import PermanentError, ServiceDownError
from tasks.services.service import Service

#: Stripe's own client waits 80 s; most charges take under 3 s, a bank that is slow up to 20.
ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0
MESSAGE_LIMIT = 300
payments = Service("stripe")

# Its telemetry would write a file into the user's home.
stripe.enable_telemetry = False


class StripeDownError(ServiceDownError):
    """Stripe did not answer, or says that it cannot just now. `answered`: by a 5xx, which it repeats to the key."""

    def __init__(self, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.answered = answered


class StripeBusyError(Exception):
    """Stripe is at work on the same intent for somebody else; another attempt will find out what came of it."""


class StripeRefusedError(PermanentError):
    """Stripe refuses the request as it stands, or the key."""


class CardDeclinedError(PermanentError):
    """The card was declined. `code`: Stripe's decline code, else its error code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent as Stripe has it: its status, its newest charge and why that failed."""

    id: str
    status: str
    charge_id: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class NewIntent:
    """What an intent is made of; `amount` in minor units, `metadata` is what people find it by."""

    amount: int
    currency: str
    payment_method: str
    stripe_customer: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


class StripePayments:
    """Stripe's API for payments, for one event loop.

    Args:
        api_key: a secret or restricted key.
        api_base: where the API is.
        answer_seconds: how long to wait for each answer.
    """

    def __init__(self, *, api_key: str, api_base: str, answer_seconds: float) -> None:
        self.identity = (api_key, api_base, answer_seconds)
        self._answer_seconds = answer_seconds
        self._http = HTTPXClient(timeout=httpx.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds)))
        self._client = StripeClient(
            api_key,
            base_addresses={"api": api_base},
            # The queue retries, after it has asked what became of the last attempt.
            max_network_retries=0,
            http_client=self._http,
        )
        self._at_end: AsyncGenerator[None, None] | None = None

    async def create(self, wanted: NewIntent, *, idempotency_key: str) -> Intent:
        """Makes an intent that is not confirmed: no money moves. The same key makes it once (in Stripe, for a day)."""
        params: stripe.params.PaymentIntentCreateParams = {
            "amount": wanted.amount,
            "currency": wanted.currency,
            "payment_method": wanted.payment_method,
            # Named, so that confirming needs no return_url for methods that send the customer elsewhere. Stripe took
            # this as payment_method_types until its API version 2026-09-30.
            "allowed_payment_method_types": ["card"],
            "metadata": wanted.metadata,
        }
        if wanted.stripe_customer is not None:
            params["customer"] = wanted.stripe_customer
        intents = self._client.v1.payment_intents
        return await self._ask(
            "create", lambda: intents.create_async(params, options={"idempotency_key": idempotency_key})
        )

    async def retrieve(self, intent_id: str) -> Intent:
        """Asks how the intent stands; by its id, which is consistent the moment it exists."""
        return await self._ask("retrieve", lambda: self._client.v1.payment_intents.retrieve_async(intent_id))

    async def confirm(self, intent_id: str) -> Intent:
        """Charges. Stripe makes at most one successful charge of an intent, however often it is confirmed.

        Without an idempotency key of ours: the intent's own state is the guard, and Stripe would repeat yesterday's 5xx
        to yesterday's key.
        """
        intents = self._client.v1.payment_intents
        # The customer is not there to be asked by the bank.
        return await self._ask("confirm", lambda: intents.confirm_async(intent_id, {"off_session": True}))

    async def cancel(self, intent_id: str) -> Intent:
        """Takes an intent out of play that was not charged: no confirmation can charge it from then on."""
        return await self._ask("cancel", lambda: self._client.v1.payment_intents.cancel_async(intent_id))

    async def _ask(self, operation: str, request: Callable[[], Awaitable[stripe.PaymentIntent]]) -> Intent:
        """One request.

        Raises:
            StripeDownError, StripeBusyError, StripeRefusedError, CardDeclinedError: see there.
            ServiceHeld: when the breaker is open.
        """
        if self._at_end is None:
            self._at_end = self._until_the_loop_ends()
            await anext(self._at_end)
        async with payments.call():
            try:
                # The whole answer, not each piece of it.
                async with asyncio.timeout(self._answer_seconds):
                    return _read(await request())
            except TimeoutError:
                raise StripeDownError(f"Stripe: {operation}: no answer within {self._answer_seconds:g} s") from None
            except stripe.StripeError as error:
                # Without its cause: it quotes what it was sent.
                raise _refusal(operation, error) from None

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        # asyncio closes the generators that are still open when a loop ends; there is no other notice of it.
        try:
            yield
        finally:
            await self._http.close_async()  # type: ignore[no-untyped-call]


def _refusal(operation: str, error: stripe.StripeError) -> Exception:
    """What Stripe's error means for the payment."""
    code = error.code or getattr(error.error, "code", None)

    def message(what: str) -> str:
        return f"Stripe: {operation} {what}: {_clean(error)}"

    match error:
        case stripe.APIConnectionError():
            cause = type(error.__cause__).__name__ if error.__cause__ is not None else "no connection"
            return StripeDownError(f"Stripe: {operation}: no answer from {settings().stripe_api_base}: {cause}")
        case stripe.CardError():
            code = getattr(error.error, "decline_code", None) or code or "card_declined"
            return CardDeclinedError(message(f"declined ({_word(code)})"), _word(code))
        case stripe.AuthenticationError() | stripe.PermissionError():
            return StripeRefusedError(message("refused the key") + " Put the account's key into STRIPE_API_KEY.")
        case stripe.RateLimitError() if code != "lock_timeout":
            return StripeDownError(message("refused for now (too many requests)"))
        case stripe.RateLimitError():
            return StripeBusyError(message("has to wait"))
        case stripe.APIError() if error.http_status == 409:
            return StripeBusyError(message("has to wait"))
        case stripe.APIError():
            return StripeDownError(message(f"failed (HTTP {error.http_status})"), answered=True)
        case _:
            hint = " Is STRIPE_API_KEY of the account and mode it was made in?" if error.http_status == 404 else ""
            return StripeRefusedError(message("refused" + (f" ({_word(code)})" if code else "")) + hint)


def _clean(error: stripe.StripeError) -> str:
    """What Stripe says, in one line, without anything that nobody may see; with the id its support asks for."""
    said = without_secrets(error.user_message or "no reason given")
    line = " ".join("".join(c if c.isprintable() else " " for c in said).split())[:MESSAGE_LIMIT]
    # Quoted, as what differs between two occurrences of one error.
    return f"{line} [{without_secrets(error.request_id)[:100]!r}]" if error.request_id else line


def _word(code: str) -> str:
    return without_secrets("".join(c for c in code if c.isalnum() or c == "_"))[:60]


def _read(intent: stripe.PaymentIntent) -> Intent:
    # What Stripe leaves out is no attribute at all.
    charge, failure = getattr(intent, "latest_charge", None), getattr(intent, "last_payment_error", None)
    code = getattr(failure, "decline_code", None) or getattr(failure, "code", None)
    return Intent(
        intent.id, str(intent.status), getattr(charge, "id", charge), _word(str(code)) if code is not None else None
    )


_by_loop: dict[asyncio.AbstractEventLoop, StripePayments] = {}
_by_loop_lock = threading.Lock()


def stripe_payments() -> StripePayments:
    """Stripe, for the running event loop, as the settings say.

    Raises:
        PermanentError: when there is no key.
    """
    key = settings().stripe_api_key
    if key is None:
        raise PermanentError(
            "STRIPE_API_KEY is not set: put the Stripe account's secret key (sk_...) or a restricted one (rk_...) "
            "there, restart the workers, then retry this job"
        )
    identity = (key.get_secret_value(), settings().stripe_api_base, ANSWER_SECONDS)
    loop = asyncio.get_running_loop()
    with _by_loop_lock:
        for ended in [other for other in _by_loop if other.is_closed()]:
            del _by_loop[ended]
        if loop not in _by_loop or _by_loop[loop].identity != identity:
            _by_loop[loop] = StripePayments(api_key=identity[0], api_base=identity[1], answer_seconds=identity[2])
        return _by_loop[loop]
