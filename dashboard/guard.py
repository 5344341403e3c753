"""Stands before every page: lets in whom `access` knows, over HTTP and over the websocket that all figures come by.

It is plain ASGI because Starlette's own base class for such things lets websockets through unseen. The API below
/api has bearer tokens of its own and is none of its business; cookies never open that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import access, oidc, way_back
from dashboard.access import Way
from dashboard.way_back import SIGN_IN, SIGN_OUT
from models.settings import settings

_HEALTH = "/_stcore/health"
#: Not pages: who asks for these is a script, which a redirect would not help.
_PARTS = ("/_stcore/", "/static/", "/media/", "/component/")
#: A proxy on this machine speaks for others.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
#: Nothing from other hosts, whatever a job's text may say, and nobody frames it. Streamlit needs inline styles and
#: scripts and compiles some (Vega); its workers are blobs.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}
_NO_SIGN_IN = (
    "This dashboard has no sign-in, so it is open to this machine's own browser only, as http://localhost or "
    "http://127.0.0.1 and without a proxy in between. For others set DASHBOARD_PASSWORD_HASH (`jobs password` makes "
    "it) or the DASHBOARD_OIDC_... settings.\n"
)
_NOT_LISTED = (
    "You are signed in, and on neither of the lists of those who may look here (DASHBOARD_OPERATORS, "
    "DASHBOARD_VIEWERS). Ask whoever runs this dashboard, or sign out at /sign-out and in as somebody else.\n"
)
_FOREIGN = "This came from another site's page, and is not done.\n"


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        if path == "/api" or path.startswith("/api/"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = _refusal(connection, path)
        if refusal is None:
            if scope["type"] == "websocket":
                await self._app(scope, *_while_signed_in(connection, receive, send))
            elif path == oidc.CALLBACK:
                await self._app(scope, receive, _leading_back(connection, _with_headers(send)))
            else:
                await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(send))


def is_loopback(host: str | None) -> bool:
    """Whether an address (or `localhost`) is this machine's own."""
    if host is None:
        return False
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _refusal(connection: HTTPConnection, path: str) -> Response | None:
    """What to answer instead; None lets it pass."""
    scope = connection.scope
    if path == _HEALTH:
        return None
    changes = scope["type"] == "websocket" or scope["method"] not in {"GET", "HEAD", "OPTIONS"}
    if changes and not _same_origin(connection.headers):
        return PlainTextResponse(_FOREIGN, 403)
    way = access.way()
    if way is Way.LOOPBACK:
        return None if _is_this_machine(connection) else PlainTextResponse(_NO_SIGN_IN, 403)
    if path in {SIGN_IN, SIGN_OUT} or (way is Way.OIDC and path in oidc.PATHS):
        return None
    if access.visitor(connection.cookies) is not None:
        return None
    if way is Way.OIDC and oidc.claims_of(connection.cookies) is not None:
        return PlainTextResponse(_NOT_LISTED, 403)
    if changes or path.startswith(_PARTS):
        return PlainTextResponse(f"Sign in at {SIGN_IN}.\n", 401)
    query = scope["query_string"].decode("latin-1")
    there = f"{path}?{query}" if query else path
    return RedirectResponse(SIGN_IN if there == "/" else f"{SIGN_IN}?next={quote(there, safe='')}", 303)


def _is_this_machine(connection: HTTPConnection) -> bool:
    """By peer and by Host: a site whose name was made to point here (DNS rebinding) has the right peer only."""
    if connection.client is None or any(name in connection.headers for name in _FORWARDED):
        return False
    return is_loopback(connection.client.host) and is_loopback(_host_of(f"//{connection.headers.get('host', '')}"))


def _same_origin(headers: Mapping[str, str]) -> bool:
    """Browsers send Origin with every websocket and every POST; who sends none is no browser, and has no cookies."""
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        there = urlsplit(origin).netloc
    except ValueError:
        return False
    if there and there == headers.get("host"):
        return True
    # A proxy may have put its own name for us into Host. Another port of localhost is another program.
    public = urlsplit(settings().public_url)
    return there == public.netloc and not is_loopback(public.hostname)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _while_signed_in(connection: HTTPConnection, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """An open page is closed at its next move after its session has ended."""
    closed = False

    async def receiving() -> Message:
        nonlocal closed
        message = await receive()
        if message["type"] == "websocket.receive" and access.visitor(connection.cookies) is None:
            closed = True
            await send({"type": "websocket.close", "code": 1008})
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    async def sending(message: Message) -> None:
        if not closed:  # what was on its way to the page stays here
            await send(message)

    return receiving, sending


def _leading_back(connection: HTTPConnection, send: Send) -> Send:
    """After the provider's answer Streamlit sends everybody to the first page: instead, to where they wanted to go."""

    async def sending(message: Message) -> None:
        there = way_back.recall(connection.cookies)
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400 and there is not None:
            headers = MutableHeaders(scope=message)
            headers["Location"] = there
            headers.append("Set-Cookie", way_back.forgetting())
        await send(message)

    return sending


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if Headers(raw=message["headers"]).get("content-type", "").startswith("text/html"):
                headers.setdefault("Content-Security-Policy", _POLICY)
        await send(message)

    return sending
