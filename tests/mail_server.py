"""A real SMTP server on a free loopback port, which does what a test tells it to."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.ports import unused_port

#: A start takes milliseconds here, and much more while others use the machine.
PATIENCE = 60.0
#: What a hook may answer to a command: a reply line, or None for the usual one. It may be `async def`.
Answer = Callable[[Envelope], str | None | Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as the server took it."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        message = BytesParser(policy=default).parsebytes(self.content)
        assert isinstance(message, EmailMessage)
        return message


class MailServer:
    """A server that takes every mail, unless told otherwise by `on_mail`, `on_recipient`, `on_content`.

    `on_accepted` runs when a mail is stored and the client has not been told yet. `login`: (user, password) to ask for.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, **options: Any
    ) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.on_mail: Answer = lambda envelope: None
        self.on_recipient: Answer = lambda envelope: None
        self.on_content: Answer = lambda envelope: None
        self.on_accepted: Callable[[], None] = lambda: None
        self.port = unused_port()
        self._login = login
        self._options = {"ssl_context": tls, **options}
        if login is not None:
            self._options |= {"auth_required": True, "authenticator": self._authenticate}
        self._controller: Controller | None = None
        self._open: list[SMTP] = []

    def start(self) -> Self:
        server = self

        class _Controller(Controller):
            def factory(self) -> SMTP:
                server.connections += 1
                server._open.append(super().factory())  # type: ignore[no-untyped-call]
                return server._open[-1]

        self._controller = _Controller(
            self, hostname="127.0.0.1", port=self.port, ready_timeout=PATIENCE, **self._options
        )
        self._controller.start()
        # The controller makes sure of itself by connecting.
        self.connections = 0
        return self

    def stop(self) -> None:
        if self._controller is not None:
            self.hang_up()
            self._controller.stop()
            self._controller = None

    def hang_up(self) -> None:
        """Closes every connection, as a server that restarts does."""
        assert self._controller is not None

        async def close() -> None:
            for smtp in self._open:
                if smtp.transport is not None:
                    smtp.transport.close()
            self._open.clear()

        asyncio.run_coroutine_threadsafe(close(), self._controller.loop).result(PATIENCE)

    def url(self, options: str = "", user: str = "", scheme: str = "smtp") -> str:
        return f"{scheme}://{user}127.0.0.1:{self.port}{options}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert self._login is not None and isinstance(data, LoginPassword)
        user, password = self._login
        return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()), handled=False)

    # What aiosmtpd calls.

    async def handle_MAIL(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return await _answer(self.on_mail, envelope) or "250 OK"

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return await _answer(self.on_recipient, envelope) or "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        refused = await _answer(self.on_content, envelope)
        if refused is not None:
            return refused
        assert isinstance(envelope.content, bytes)
        self.received.append(Received(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content))
        self.on_accepted()
        return "250 OK"


async def _answer(hook: Answer, envelope: Envelope) -> str | None:
    answer = hook(envelope)
    return await answer if inspect.isawaitable(answer) else answer
