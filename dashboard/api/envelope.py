"""What every answer has around it: a request id, headers that shut out what browsers might do, and never a bare 500."""

from __future__ import annotations

import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.api.problems import problem

REQUEST_ID = "X-Request-ID"
#: Goes into headers, logs and problems as it came, so only what is harmless in each.
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
#: For all but the pages, which set their own policy.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

log = logging.getLogger("dashboard.api")


class Envelope:
    """Middleware in plain ASGI: it goes around everything, the framework's own answers too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request %s: %s %s failed", request_id, scope["method"], _route(scope))
            if started:
                raise
            answer = problem(
                scope, 500, "this is a mistake of the server's; its log has more under the request id"
            )
            await answer(scope, receive, send_with_headers)


def _route(scope: Scope) -> str:
    """The path without what stands in it: the links in mails are secrets of a kind."""
    route = scope.get("route")
    return getattr(route, "path", "an unknown path")
