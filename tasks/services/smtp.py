"""Handing mails to the mail server of SMTP_URL: a few connections per worker, kept open between mails.

Which errors are for good is decided in `_refusal`, and nowhere else: the server's 5xx to the log-in, the sender, the
recipient or the content. What the network, a time-out or a 4xx did, the next attempt may mend.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import cache

from aiosmtplib import (
    SMTP,
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPStatus,
)

from models.settings import settings
from models.smtp_url import Encryption, SmtpServer
from tasks.errors import PermanentError, ServiceDownError
from tasks.services.no_return import point_of_no_return
from tasks.services.service import Service

#: For the connection and each answer. Servers answer in well under a second; 20 s covers one that greylists or scans.
ANSWER_SECONDS = 20.0
#: A connection that was not used for this long is closed. Servers drop idle ones after 5 minutes, firewalls earlier.
IDLE_SECONDS = 30.0
#: How long a polite goodbye may take.
QUIT_SECONDS = 2.0
MESSAGE_LIMIT = 400
_ERRORS = (SMTPException, OSError)  # time-outs are OSErrors
#: The mail server's breaker and rate.
mail_server = Service("smtp", per_second=lambda: settings().mail_per_second)


class SmtpError(Exception):
    """The mail server did not take the mail this time; another attempt may succeed."""


class SmtpDownError(SmtpError, ServiceDownError):
    """The mail server does not answer, or takes no mail at all just now."""


class SmtpRefusedError(PermanentError):
    """The mail server refused the mail for good."""


class SmtpPool:
    """The connections of one event loop to one mail server.

    Args:
        server: which, and at most how many connections.
        answer_seconds: how long to wait for the connection and for each answer.
        idle_seconds: how long an unused connection is kept.
    """

    def __init__(
        self, *, server: SmtpServer, answer_seconds: float = ANSWER_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.server = server
        self._answer_seconds = answer_seconds
        self._idle_seconds = idle_seconds
        self._turns = asyncio.Semaphore(server.connections)
        self._idle: list[tuple[SMTP, float]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._at_end: AsyncGenerator[None, None] | None = None

    async def send(self, sender: str, recipient: str, content: bytes) -> None:
        """Hands over one mail; waits for its turn when all connections are in use.

        Raises:
            SmtpRefusedError: it was refused for good.
            SmtpError: this attempt failed. After a time-out or a broken connection nobody knows whether the server took
                the mail before; the Message-ID is the same at the next attempt.
        """
        # The breaker is asked when it is this mail's turn: of those that still wait, none is charged for an outage.
        async with self._turns, mail_server.call():
            client = await self._begin(sender)
            reusable = False
            try:
                operation = "recipient"
                try:
                    await client.rcpt(recipient)
                    operation = "content"
                    point_of_no_return()
                    await client.data(content)
                    reusable = True
                except _ERRORS as error:
                    reusable = await _reset(client)
                    raise self._refusal(operation, error) from error
            finally:
                if reusable and client.is_connected:
                    self._keep(client)
                else:
                    client.close()

    async def _begin(self, sender: str) -> SMTP:
        """A connection on which the server has taken the sender."""
        while True:
            fresh = not self._idle
            client = await self._connect() if fresh else self._idle.pop()[0]
            try:
                await client.mail(sender)
            except BaseException as error:
                client.close()
                if not isinstance(error, _ERRORS):
                    raise
                # One that broke while it lay idle is replaced at once: nothing was sent on it yet.
                if fresh or not _is_gone(error):
                    raise self._refusal("sender", error) from error
            else:
                return client

    async def _connect(self) -> SMTP:
        server = self.server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=await asyncio.to_thread(_own_name),
            timeout=self._answer_seconds,
            use_tls=server.encryption is Encryption.TLS,
            start_tls=_START_TLS[server.encryption],
        )
        operation = "connection"
        try:
            await client.connect()
            if server.user is not None and server.password is not None:
                operation = "log-in"
                await client.login(server.user, server.password)
        except _ERRORS as error:
            client.close()
            # Without its cause: a server may quote what it was sent.
            raise self._refusal(operation, error) from None
        except BaseException:
            client.close()
            raise
        if self._at_end is None:
            self._at_end = self._until_the_loop_ends()
            await anext(self._at_end)
        return client

    def _refusal(self, operation: str, error: Exception) -> Exception:
        """What a failed operation means for the mail: `SmtpRefusedError` for good, `SmtpError` for now."""
        for_good = False
        if isinstance(error, SMTPResponseException) and error.code > 0:
            # 5xx as a greeting is about the server, which may be well again in a minute.
            greeting = isinstance(error, SMTPConnectResponseError | SMTPHeloError)
            for_good = 500 <= error.code <= 599 and not greeting
            cause = f"{error.code} {error.message}"
        else:
            cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if "STARTTLS" in cause and self.server.encryption is Encryption.REQUIRED:
            cause += " For a server that is meant to have none, add starttls=never to SMTP_URL."
        message = f"SMTP server {self.server}: {operation} {'refused' if for_good else 'failed'}: {self._clean(cause)}"
        if for_good:
            return SmtpRefusedError(message)
        return SmtpDownError(message) if operation == "connection" or _is_down(error) else SmtpError(message)

    def _clean(self, text: str) -> str:
        """One line without the password, should the server quote what it was sent."""
        user, password = self.server.user or "", self.server.password or ""
        if password:
            for secret in (_base64(f"\0{user}\0{password}"), _base64(password), password):
                text = text.replace(secret, "***")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MESSAGE_LIMIT]

    def _keep(self, client: SMTP) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((client, loop.time()))
        if self._sweep is None:
            self._sweep = loop.call_later(self._idle_seconds, self._close_idle)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        too_old = loop.time() - self._idle_seconds
        for client, since in self._idle:
            if since <= too_old:
                goodbye = loop.create_task(_say_goodbye(client))
                self._goodbyes.add(goodbye)
                goodbye.add_done_callback(self._goodbyes.discard)
        self._idle = [(client, since) for client, since in self._idle if since > too_old]
        next_due = min((since for _, since in self._idle), default=None)
        self._sweep = loop.call_at(next_due + self._idle_seconds, self._close_idle) if next_due is not None else None

    async def close(self) -> None:
        """Closes the idle connections; those in use close when their mail is done."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_say_goodbye(client) for client, _ in idle))

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        # asyncio closes the generators that are still open when a loop ends; there is no other notice of it.
        try:
            yield
        finally:
            await self.close()


_START_TLS = {Encryption.TLS: False, Encryption.REQUIRED: True, Encryption.AUTO: None, Encryption.NEVER: False}
_by_loop: dict[asyncio.AbstractEventLoop, SmtpPool] = {}
_by_loop_lock = threading.Lock()


def smtp_pool(server: SmtpServer) -> SmtpPool:
    """The pool of the running event loop for this server; made at its first mail."""
    loop = asyncio.get_running_loop()
    with _by_loop_lock:
        for ended in [other for other in _by_loop if other.is_closed()]:
            del _by_loop[ended]
        if loop not in _by_loop or _by_loop[loop].server != server:
            _by_loop[loop] = SmtpPool(server=server)
        return _by_loop[loop]


def _is_gone(error: Exception) -> bool:
    """Whether the server had closed the connection, or says that it does now (421), whatever the mail."""
    return isinstance(error, SMTPServerDisconnected | ConnectionError) or (
        isinstance(error, SMTPResponseException) and error.code == SMTPStatus.domain_unavailable
    )


def _is_down(error: Exception) -> bool:
    """Whether it is the server that is in trouble: it broke off or went silent. A 4xx is about the one mail."""
    return _is_gone(error) or isinstance(error, OSError)


async def _reset(client: SMTP) -> bool:
    """Makes the connection ready for another mail; False when it is of no more use."""
    with suppress(*_ERRORS):
        await client.rset()
        return True
    return False


async def _say_goodbye(client: SMTP) -> None:
    with suppress(*_ERRORS):
        await client.quit(timeout=QUIT_SECONDS)
    client.close()


@cache
def _own_name() -> str:
    # Asked once: without a working resolver it takes seconds.
    name = socket.getfqdn()
    return name if name.isascii() and name and not any(c.isspace() for c in name) else "localhost"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
