"""A real HTTP server on a free port of loopback, which answers what a test tells it to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the server got it; header names in small letters."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it answers. A body in pieces is sent piece by piece; `cut`: it then breaks off before all that was said."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


class HttpServer:
    """Answers each request by `answer`, and keeps what it was asked."""

    def __init__(self, answer: Callable[[Asked], Answer] = lambda asked: Answer(), *, tls: Any = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        #: Set at the end: what answers slowly waits for it and not for a clock.
        self.over = threading.Event()
        self._tls: ssl.SSLContext | None = tls
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                server._handle(self)

            do_GET = do_POST = do_PUT = do_HEAD = handle_any

            def log_message(self, *args: Any) -> None: ...

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            #: Of five that wait to be taken, the sixth is told nothing, and asks again after 1 s, 3 s, 7 s.
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None: ...

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.host = f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        asked = Asked(
            handler.command,
            parts.path,
            {name: values[-1] for name, values in parse_qs(parts.query).items()},
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(int(handler.headers.get("Content-Length", 0))),
        )
        self.asked.append(asked)
        answer = self.answer(asked)
        whole = isinstance(answer.body, bytes)
        with suppress(ConnectionError):
            if "Date" in answer.headers:
                handler.send_response_only(answer.status)
            else:
                handler.send_response(answer.status)
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            if whole:
                said = len(answer.body) + (100 if answer.cut else 0)
                handler.send_header("Content-Length", str(said))
            else:
                handler.send_header("Connection", "close")
            handler.end_headers()
            for piece in [answer.body] if whole else answer.body:
                handler.wfile.write(piece)
                handler.wfile.flush()
        handler.close_connection = handler.close_connection or answer.cut or not whole
