"""Unsubscribing from promotions by the signed link in a mail: making the link, and doing what it says.

The link works without a log-in and for ever (a mail may be opened years later). A GET shows a page that asks, a POST
unsubscribes: mail scanners follow every link, and RFC 8058 lets mail programs POST with one click.
"""

from __future__ import annotations

from models import database
from models.settings import settings
from models.signing import text_of, token

#: Below PUBLIC_URL; what the API serves.
UNSUBSCRIBE_PATH = "/api/unsubscribe/"

_PURPOSE = "unsubscribe"


def unsubscribe_link(customer_id: str) -> str:
    """The link that unsubscribes this customer."""
    return f"{settings().public_url}{UNSUBSCRIBE_PATH}{unsubscribe_token(customer_id)}"


def unsubscribe_token(customer_id: str) -> str:
    """The last part of the link: the customer's id and its signature, URL-safe."""
    return token(_PURPOSE, customer_id)


def customer_of(token: str) -> str | None:
    """The id of the customer that the token was made for; None when it was not made by us."""
    return text_of(_PURPOSE, token)


def unsubscribe(token: str) -> bool:
    """Unsubscribes the token's customer; again keeps the first time. False for a wrong token or no such customer."""
    customer_id = customer_of(token)
    if customer_id is None:
        return False
    with database.transaction() as connection:
        row = connection.execute(
            "UPDATE customers SET unsubscribed_at = coalesce(unsubscribed_at, now()), updated_at = now()"
            " WHERE id = %s RETURNING id",
            [customer_id],
        ).fetchone()
    return row is not None
