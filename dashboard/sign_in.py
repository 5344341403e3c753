"""The sign-in and sign-out pages: outside Streamlit, so that none of its websockets opens before."""

from __future__ import annotations

import logging
import math
from html import escape
from urllib.parse import parse_qs, urlencode

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard import access, oidc, sessions, way_back
from dashboard.access import Way
from dashboard.api.pages import page
from dashboard.throttle import Throttle
from dashboard.way_back import SIGN_IN, SIGN_OUT
from models import passwords
from models.roles import Role
from models.settings import settings

#: In the query: on to the provider.
_BEGIN = "begin"
#: A name, a password and where to go then.
BODY_BYTES = 8192
#: Each hash takes 64 MiB while it is computed.
AT_ONCE = 2

log = logging.getLogger("jobs.dashboard")


def routes() -> list[Route]:
    """The two pages, with a throttle of their own."""
    door = _Door()
    return [
        Route(SIGN_IN, door.ask, methods=["GET"]),
        Route(SIGN_IN, door.answer, methods=["POST"]),
        Route(SIGN_OUT, _ask_out, methods=["GET"]),
        Route(SIGN_OUT, _out, methods=["POST"]),
    ]


class _Door:
    def __init__(self) -> None:
        self._throttle = Throttle()
        self._limiter: CapacityLimiter | None = None

    async def ask(self, request: Request) -> Response:
        there = way_back.safe(request.query_params.get("next"))
        if access.visitor(request.cookies) is not None:
            return RedirectResponse(there, 303)
        if access.way() is Way.OIDC:
            if _BEGIN in request.query_params:
                answer = RedirectResponse(oidc.sign_in_path(), 303)
                way_back.remember(answer, there, secure=_secure(request))
                return answer
            # To here again: the way to the provider is good for two minutes from now, and a tab may stay open longer.
            begin = f"{SIGN_IN}?{urlencode({_BEGIN: '1', 'next': there})}"
            return page("Sign in", f'<p><a href="{escape(begin)}">Sign in with your account</a></p>')
        return _form(there)

    async def answer(self, request: Request) -> Response:
        if access.way() is not Way.PASSWORD:
            return RedirectResponse("/", 303)
        fields = await _fields(request)
        if fields is None:
            return _form("/", "That was too much; a name and a password are expected.", 413)
        there = way_back.safe(fields.get("next"))
        address = request.client.host if request.client else "nowhere"
        wait = self._throttle.begin(address)
        if wait > 0:
            log.warning("sign-in: too many wrong passwords, the last from %s", address)
            minutes = math.ceil(wait / 60)
            return _form(
                there,
                f"Too many wrong passwords. Try again in {minutes} minute{'' if minutes == 1 else 's'}.",
                429,
                {"Retry-After": str(math.ceil(wait))},
            )
        self._limiter = self._limiter or CapacityLimiter(AT_ONCE)
        role = await to_thread.run_sync(_role_of, fields.get("password", ""), limiter=self._limiter)
        if role is None:
            log.warning("sign-in: a wrong password from %s", address)
            return _form(there, "That is not the password.", 401)
        self._throttle.forgive(address)
        log.info("sign-in: %s from %s", role, address)
        answer = RedirectResponse(there, 303)
        answer.set_cookie(
            sessions.COOKIE,
            sessions.new_session(fields.get("name", ""), role),
            max_age=sessions.SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=_secure(request),
        )
        return answer


async def _ask_out(request: Request) -> Response:
    match access.way():
        case Way.OIDC:
            return RedirectResponse("/auth/logout", 303)
        case Way.LOOPBACK:
            return RedirectResponse("/", 303)
        case _:
            return page("Sign out", f'<form method="post" action="{SIGN_OUT}"><button>Sign out</button></form>')


async def _out(request: Request) -> Response:
    sessions.end_session(request.cookies.get(sessions.COOKIE))
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(sessions.COOKIE, httponly=True, samesite="lax", secure=_secure(request))
    return answer


def _role_of(password: str) -> Role | None:
    """Both hashes are always computed: the time tells nobody which of them it was."""
    found: Role | None = None
    roles: tuple[Role, ...] = ("viewer", "operator")
    hashes = {
        "operator": settings().dashboard_password_hash,
        "viewer": settings().dashboard_viewer_password_hash,
    }
    for role in roles:
        hashed = hashes[role]
        if hashed is not None and passwords.fits(password, hashed.get_secret_value()):
            found = role
    return found


async def _fields(request: Request) -> dict[str, str] | None:
    """The form's fields; None when the body is too large. It is read no further than that."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            return None
    found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in found.items()}


def _secure(request: Request) -> bool:
    return request.url.scheme == "https" or settings().public_url.startswith("https:")


def _form(there: str, trouble: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
    said = f'<p role="alert"><strong>{escape(trouble)}</strong></p>' if trouble else ""
    return page(
        "Sign in",
        f'{said}<form method="post" action="{SIGN_IN}">'
        f'<input type="hidden" name="next" value="{escape(there)}">'
        '<p><label for="name">Your name, for the audit log</label><br>'
        f'<input id="name" name="name" autocomplete="name" maxlength="{sessions.NAME_LENGTH}"></p>'
        '<p><label for="password">Password</label><br>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus></p>'
        "<button>Sign in</button></form>",
        status,
        headers,
    )
