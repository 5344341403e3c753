"""Stripe on loopback: localstripe as a process of its own, and before it a proxy that does what a test tells it to.

localstripe differs from Stripe in what matters here: it ignores idempotency keys, and knows neither `off_session` at a
confirmation nor `allowed_payment_method_types`, which the proxy takes out. Its storage stays in memory.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from running import Process, until

from tests.ports import unused_port

KEY = "sk_test_localstripe12345"
#: Runs localstripe on loopback only, and without its file in the machine's temporary folder.
_LAUNCH = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.store.dump_to_disk = lambda: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""
_UNKNOWN_TO_LOCALSTRIPE = ("off_session", "allowed_payment_method_types[0]")

VISA = "4242424242424242"
#: Declined when it is charged; asks for 3-D Secure.
DECLINED, ASKS = "4000000000000341", "4000002500003155"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the proxy got it."""

    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]

    @property
    def operation(self) -> str:
        """create, retrieve, confirm, cancel."""
        last = urlsplit(self.path).path.rpartition("/")[2]
        if last in ("confirm", "cancel"):
            return last
        return "create" if self.method == "POST" else "retrieve"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body, JSON if it is no text."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = (("Request-Id", "req_test"),)

    @classmethod
    def error(cls, status: int, kind: str, message: str, **fields: Any) -> Answer:
        return cls(status, {"error": {"type": kind, "message": message, **fields}})


class Dropped(Exception):
    """Raised by a hook: the connection is closed without an answer."""


class StripeServer:
    """localstripe's URL, what it holds, and cards to pay with."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def call(self, method: str, path: str, **form: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}", urlencode(form).encode() if form else None, method=method
        )
        request.add_header("Authorization", f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def card(self, number: str = VISA) -> str:
        """A saved card's id."""
        return str(
            self.call(
                "POST", "/v1/payment_methods",
                **{"type": "card", "card[number]": number, "card[exp_month]": 12, "card[exp_year]": 2030,
                   "card[cvc]": "123"},
            )["id"]
        )  # fmt: skip

    def charges(self) -> list[dict[str, Any]]:
        """The charges that succeeded."""
        listed: list[dict[str, Any]] = self.call("GET", "/v1/charges?limit=100")["data"]
        return [charge for charge in listed if charge["status"] == "succeeded"]

    def intents(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.call("GET", "/v1/payment_intents?limit=100")["data"]
        return listed

    def forget(self) -> None:
        self.call("DELETE", "/_config/data")


@contextmanager
def stripe_server() -> Iterator[StripeServer]:
    """localstripe in a process of its own on a free loopback port."""
    port = unused_port()
    child = Process(["-c", _LAUNCH, str(port)])
    server = StripeServer(port)

    def answers() -> bool:
        assert child.running, child.output
        try:
            server.charges()
        except OSError:
            return False
        return True

    try:
        until(answers, what="localstripe's start")
        yield server
    finally:
        child.end()


class StripeProxy:
    """A reverse proxy on loopback: `before(asked)` may answer in Stripe's place, `after(asked, answer)` looks at what
    Stripe did before the client knows; either may raise Dropped."""

    def __init__(self, server: StripeServer) -> None:
        self.server = server
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        self.after: Callable[[Asked, Answer], Answer] = lambda asked, answer: answer
        self.port = unused_port()
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def operations(self) -> list[str]:
        return [asked.operation for asked in self.asked]

    def start(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.before(asked) or self.after(asked, self._passed_on(asked))

    def _passed_on(self, asked: Asked) -> Answer:
        form = {name: value for name, value in asked.form.items() if name not in _UNKNOWN_TO_LOCALSTRIPE}
        request = urllib.request.Request(
            self.server.url + asked.path, urlencode(form).encode() if form else None, method=asked.method
        )
        request.add_header("Authorization", asked.headers["authorization"])
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read()))


def _handler(proxy: StripeProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # A connection each, so that stopping the proxy leaves none open.
        protocol_version = "HTTP/1.0"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                answer = proxy.answer(Asked(self.command, self.path, form, headers))
            except Dropped:
                return
            content = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            # The client may have gone meanwhile.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(content.encode())

        do_GET = do_POST

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
