"""Who asks: bearer tokens and what each may do. Closed where no token is set; never a cookie, never a part of a URL."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

from fastapi.security import HTTPBearer
from pydantic import SecretStr

from models.roles import Actor
from models.settings import settings

#: What a route asks for: to look, to act, or to be the scheduler.
Need = Literal["viewer", "operator", "cron"]

#: What the API's description says of the tokens; `caller_of` does the checking, before anything of the body is read.
LOOK = HTTPBearer(
    scheme_name="lookToken",
    description="`ADMIN_API_READ_TOKEN` (only to look) or `ADMIN_API_TOKEN`.",
    auto_error=False,
)
ACT = HTTPBearer(scheme_name="actToken", description="`ADMIN_API_TOKEN`.", auto_error=False)
CRON = HTTPBearer(
    scheme_name="cronSecret", description="`CRON_SECRET`: for the two cron endpoints only.", auto_error=False
)
SCHEMES = {"viewer": LOOK, "operator": ACT, "cron": CRON}

_Known = tuple[SecretStr | None, Actor]


def caller_of(authorization: Sequence[str], need: Need) -> Actor | None:
    """Whose token it is, by the Authorization headers of a request; None when nobody's.

    The answer may be a viewer where an operator is needed: known, but not allowed.
    """
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    given = _digest(token.strip())
    found: Actor | None = None
    # All are compared, whichever fits: how long it takes tells nothing.
    for known, actor in _tokens(need):
        if known is not None and hmac.compare_digest(given, _digest(known.get_secret_value())):
            found = actor
    return found


def _tokens(need: Need) -> tuple[_Known, ...]:
    if need == "cron":
        return ((settings().cron_secret, Actor("API, CRON_SECRET", "operator")),)
    return (
        (settings().admin_api_token, Actor("API, ADMIN_API_TOKEN", "operator")),
        (settings().admin_api_read_token, Actor("API, ADMIN_API_READ_TOKEN", "viewer")),
    )


def _digest(token: str) -> bytes:
    # Of one length, so that not even the length is told.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
