"""Sign-in by OpenID Connect: what Streamlit is told of it, who its cookie says it is, and what they may do."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from streamlit.auth_util import encode_provider_token, get_cookie_with_chunks
from streamlit.web.server.server_util import AUTH_COOKIE_NAME
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value

from dashboard.sessions import SESSION_SECONDS
from models.roles import Actor, Role
from models.settings import settings
from models.signing import sign

#: Streamlit's own paths, which must be open to those who are not signed in yet.
CALLBACK = "/oauth2callback"
PATHS = frozenset({"/auth/login", "/auth/logout", CALLBACK})


def is_set() -> bool:
    """Whether the settings name a provider."""
    return settings().dashboard_oidc_client_id is not None


def secrets() -> dict[str, Any]:
    """Streamlit's `[auth]` section, from the settings; empty without a provider."""
    found = settings()
    if found.dashboard_oidc_client_id is None or found.dashboard_oidc_client_secret is None:
        return {}
    return {
        "auth": {
            "redirect_uri": f"{found.public_url}/oauth2callback",
            "cookie_secret": _cookie_secret(),
            "client_id": found.dashboard_oidc_client_id,
            "client_secret": found.dashboard_oidc_client_secret.get_secret_value(),
            "server_metadata_url": found.dashboard_oidc_metadata_url or "",
        }
    }


def sign_in_path() -> str:
    """Where Streamlit sends the browser on to the provider; good for two minutes."""
    return f"/auth/login?provider={encode_provider_token('default')}"


def claims_of(cookies: Mapping[str, str]) -> dict[str, Any] | None:
    """What the provider said about whom the cookies belong to; None when nobody signed in within the session's time."""

    def one(name: str) -> bytes | None:
        value = cookies.get(name)
        return None if value is None else decode_signed_value(_cookie_secret(), name, value, SESSION_SECONDS / 86_400)

    content = get_cookie_with_chunks(one, AUTH_COOKIE_NAME)
    if content is None:
        return None
    claims: dict[str, Any] = json.loads(content)
    return claims if claims.get("is_logged_in") is True else None


def actor_of(claims: Mapping[str, Any]) -> Actor | None:
    """Who that is here; None for somebody who may not even look."""
    role = _role_of(claims)
    return None if role is None else Actor(_name_of(claims), role)


def keep_out_of_log(record: logging.LogRecord) -> bool:
    """A filter for uvicorn's log of requests: the queries of these paths are worth a sign-in for a while."""
    if isinstance(record.args, tuple):
        record.args = tuple(_without_query(part) if isinstance(part, str) else part for part in record.args)
    return True


def _without_query(part: str) -> str:
    path, mark, _ = part.partition("?")
    return f"{path}?..." if mark and path in PATHS else part


def _role_of(claims: Mapping[str, Any]) -> Role | None:
    found = settings()
    email = _verified_email(claims)
    if _listed(email, found.dashboard_operators) or _claimed(claims, found.dashboard_operator_claim):
        return "operator"
    if "*" in found.dashboard_viewers or _listed(email, found.dashboard_viewers):
        return "viewer"
    return None


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    """Some providers let their users write any address into this claim, and say so in `email_verified` only."""
    email = claims.get("email")
    verified = claims.get("email_verified")
    return email.lower() if isinstance(email, str) and (verified is True or verified == "true") else None


def _listed(email: str | None, addresses: Iterable[str]) -> bool:
    return email is not None and any(
        email == address or (address.startswith("@") and email.endswith(address)) for address in addresses
    )


def _claimed(claims: Mapping[str, Any], wanted: str | None) -> bool:
    if wanted is None:
        return False
    name, _, value = wanted.partition("=")
    found = claims.get(name)
    return value in (found if isinstance(found, list) else [found])


def _name_of(claims: Mapping[str, Any]) -> str:
    return str(_verified_email(claims) or claims.get("preferred_username") or claims.get("sub") or "somebody")[:120]


def _cookie_secret() -> str:
    configured = settings().dashboard_cookie_secret
    if configured is not None:
        return configured.get_secret_value()
    return sign("dashboard cookies", "one") + sign("dashboard cookies", "two")  # 256 bits in two halves
