"""Who looks at the dashboard, and as what: asked by the guard for each request, by pages for each action."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import streamlit as st

from dashboard import oidc, sessions
from models.roles import Actor, system_user
from models.settings import settings


class Way(Enum):
    """How people sign in."""

    #: Nobody can; so this machine's own users are let in, as operators: its database is theirs anyway.
    LOOPBACK = "loopback"
    PASSWORD = "password"
    OIDC = "oidc"


def way() -> Way:
    """What the settings say."""
    if oidc.is_set():
        return Way.OIDC
    found = settings()
    if found.dashboard_password_hash is not None or found.dashboard_viewer_password_hash is not None:
        return Way.PASSWORD
    return Way.LOOPBACK


def visitor(cookies: Mapping[str, str]) -> Actor | None:
    """Whom a request's cookies belong to; None when they say nothing that counts.

    Without a sign-in that is this process's user: the guard has seen that the request comes from this machine.
    """
    match way():
        case Way.OIDC:
            claims = oidc.claims_of(cookies)
            return None if claims is None else oidc.actor_of(claims)
        case Way.PASSWORD:
            session = sessions.read_session(cookies.get(sessions.COOKIE))
            return None if session is None else session.actor
        case _:
            return Actor(system_user(), "operator")


def current_actor() -> Actor:
    """Who looks at this page, for `models.operations`.

    Raises:
        PermissionError: when the session ended after the page was opened; the guard closes the page at its next move.
    """
    found = visitor(st.context.cookies)
    if found is None:
        raise PermissionError("expected somebody who is signed in, and the session has ended: sign in again")
    return found
