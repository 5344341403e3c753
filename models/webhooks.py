"""The signature on what is posted to a customer's webhook, as standardwebhooks.com has it."""

from __future__ import annotations

import base64
import hashlib
import hmac

from models.signing import derived_key


def webhook_secret(customer_id: str) -> str:
    """What the customer needs to check the signatures: to be handed over in confidence, different for everyone."""
    return f"whsec_{base64.b64encode(_key(customer_id)).decode('ascii')}"


def webhook_headers(customer_id: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with the body.

    Args:
        message_id: the same at each attempt, by which the receiver knows a message again.
        timestamp: seconds since 1970, when it is sent; receivers refuse what is minutes old.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(_key(customer_id), signed, hashlib.sha256).digest()).decode("ascii")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def _key(customer_id: str) -> bytes:
    return derived_key("webhook", customer_id)
