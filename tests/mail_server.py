"""A real SMTP server on a free loopback port, and what the mail tests share besides."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from models import database

T = TypeVar("T")
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
        self.port = free_port()
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

        self._controller = _Controller(self, hostname="127.0.0.1", port=self.port, **self._options)
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

        asyncio.run_coroutine_threadsafe(close(), self._controller.loop).result(10)

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on an event loop of its own, which leaves no connection of the async engine to the next one."""

    async def main() -> T:
        try:
            return await work
        finally:
            await database.async_engine().dispose()

    return asyncio.run(main())


def rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.database_url()) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def execute(query: str, *parameters: Any) -> None:
    with psycopg.connect(database.database_url()) as connection:
        connection.execute(query.encode(), parameters)


def add_customer(
    customer_id: str = "c1", *, name: str = "Anna Smith", email: str | None = "anna@example.com", tier: str = "standard"
) -> str:
    execute("INSERT INTO customers (id, name, email, tier) VALUES (%s, %s, %s, %s)", customer_id, name, email, tier)
    return customer_id


def add_promotion(
    promotion_id: str = "p1",
    *,
    subject: str = "Clean carpets for spring",
    body: str = "We clean your carpets.\n\nBook now.",
    discount: str = "10",
    tier: str | None = None,
    minimum: str = "0",
    active: bool = True,
) -> str:
    execute(
        "INSERT INTO promotions (id, name, subject, body, discount_percent, tier, minimum_value, active)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        promotion_id, promotion_id, subject, body, discount, tier, minimum, active,
    )  # fmt: skip
    return promotion_id


def add_opportunity(
    opportunity_id: str = "o1", *, customer: str | None = "c1", status: str = "new", value: str | None = "1234.50"
) -> str:
    execute(
        "INSERT INTO opportunities (id, customer_id, title, status, estimated_value)"
        " VALUES (%s, %s, 'Carpets', %s, %s)",
        opportunity_id, customer, status, value,
    )  # fmt: skip
    return opportunity_id
