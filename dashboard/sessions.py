"""Sessions of those who signed in with the shared password: a signed cookie, and nothing to keep on the server."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass

from models.roles import Actor, Role
from models.settings import settings
from models.signing import is_signed, sign

COOKIE = "jobs_session"
#: A working day; then the password is asked for again.
SESSION_SECONDS = 12 * 3600
#: What the audit log shows of a name that its owner typed.
NAME_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in, until when (seconds since 1970)."""

    actor: Actor
    expires: float
    key: str


def new_session(name: str, role: Role) -> str:
    """The cookie's value for somebody who gave that role's password; the name is what they say it is."""
    shown = "".join(character for character in name if character.isprintable()).strip()[:NAME_LENGTH]
    content = {"n": shown, "r": role, "e": round(time.time()) + SESSION_SECONDS, "k": secrets.token_urlsafe(12)}
    body = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode("ascii")
    return f"{body}.{sign(_purpose(role), body)}"


def read_session(value: str | None) -> Session | None:
    """The session of a cookie; None when it is not ours, has run out, was ended, or its password was changed."""
    body, _, signature = (value or "").partition(".")
    try:
        content = json.loads(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
        role, expires, key = content["r"], content["e"], content["k"]
        name = content["n"] or role
    except (ValueError, binascii.Error, KeyError, TypeError):
        return None
    if role not in _hashes() or not is_signed(_purpose(role), body, signature):
        return None
    if expires < time.time() or key in _ended:
        return None
    return Session(Actor(f"{name} (shared password)", role), expires, key)


def end_session(value: str | None) -> None:
    """Makes the cookie worthless in this process; elsewhere and after a restart it is when it runs out."""
    session = read_session(value)
    if session is None:
        return
    with _lock:
        now = time.time()
        for key in [key for key, expires in _ended.items() if expires < now]:
            del _ended[key]
        _ended[session.key] = session.expires


_lock = threading.Lock()
_ended: dict[str, float] = {}


def _hashes() -> dict[str, str]:
    """The hash of each role's password, of those that are set."""
    pairs: tuple[tuple[Role, object], ...] = (
        ("operator", settings().dashboard_password_hash),
        ("viewer", settings().dashboard_viewer_password_hash),
    )
    return {role: hashed.get_secret_value() for role, hashed in pairs if hashed is not None}  # type: ignore[attr-defined]


def _purpose(role: str) -> str:
    """Another password makes another purpose: who signed in with the old one is out."""
    return f"dashboard session {hashlib.sha256(_hashes().get(role, '').encode()).hexdigest()}"
