"""Handing a text to one Apprise URL: what is taken of Apprise, and what its answer means.

Apprise is given URLs from the settings and plain text, and nothing else: no configuration files, no attachments, no
plug-ins from folders, no redirects. What it is told a text is (plain) it converts for services that read HTML; those
that read Markdown are told to read plain text too.

Which answers are for good is decided in `_failure`, and nowhere else. Apprise itself only says yes or no: the status is
read from its log line, of which nothing but the number is kept, as it may hold parts of the URL.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from models.signing import derived_key
from tasks.errors import PermanentError, ServiceDownError
from tasks.services.no_return import point_of_no_return

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyType
    from apprise.plugins.base import NotifyBase

#: For the connection, and again for the answer; a URL may ask for less, not for more.
ANSWER_SECONDS = 10.0
#: `asyncio.to_thread` has six threads on a machine of two cores, and others need some.
AT_ONCE = 4
#: Of title and body; more is not read on any of these services.
TITLE_LIMIT, BODY_LIMIT = 250, 4_000
SEVERITIES = {"info": "info", "success": "success", "warning": "warning", "critical": "failure"}
#: Statuses that say "not now".
_LATER = {408, 425, 429}
_STATUS = re.compile(r"error[=:] ?(\d{3})\b")
#: What no plain text needs; line breaks and tabs stay.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class NotifyDownError(ServiceDownError):
    """The place did not answer, or cannot take it just now."""


class NotifyRefusedError(PermanentError):
    """The place refused the text for good, or the URL is none that Apprise knows."""


def turn() -> asyncio.Semaphore:
    """To be waited for before a service's breaker is asked: a few calls at once, as each takes a thread for seconds."""
    loop = asyncio.get_running_loop()
    return _turns.setdefault(loop, asyncio.Semaphore(AT_ONCE))


async def hand_over(url: str, what: str, *, title: str, body: str, severity: str = "info") -> None:
    """Hands the text to the place; comes back when it was taken.

    Args:
        what: the place's name in messages (see `place_of`).
        severity: one of `SEVERITIES`.

    Raises:
        NotifyDownError, NotifyRefusedError: when it was not.
    """
    title = _CONTROLS.sub(" ", title.replace("\n", " "))[:TITLE_LIMIT]
    body = _CONTROLS.sub(" ", body.replace("\r\n", "\n"))[:BODY_LIMIT]
    # The thread cannot be stopped.
    point_of_no_return()
    await asyncio.to_thread(_hand_over, url, what, title, body, severity)


async def place_of(url: str) -> str:
    """What messages call the place: `json://127.0.0.1:8080`, with nothing of the URL that may be secret."""
    return await asyncio.to_thread(_place_of, url)


def target_of(url: str) -> str:
    """What stands for the URL in the database: nobody can guess the URL from it."""
    return derived_key("notify", url).hex()[:32]


def _hand_over(url: str, what: str, title: str, body: str, severity: str) -> None:
    from apprise import Apprise, NotifyFormat

    plugin = _plugin(url)
    if plugin is None:
        raise NotifyRefusedError(f"{what}: expected a URL that Apprise knows, got another; correct the setting")
    plugin.redirects = False
    plugin.retry = 0  # retries are the queue's
    plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, ANSWER_SECONDS)
    plugin.socket_read_timeout = min(plugin.socket_read_timeout, ANSWER_SECONDS)
    if plugin.notify_format == NotifyFormat.MARKDOWN:
        plugin.notify_format = NotifyFormat.TEXT
    sender = Apprise(asset=plugin.asset)
    sender.add(plugin)
    heard: list[str] = []
    listening = _heard.set(heard)
    try:
        sent = sender.notify(
            body=body, title=title, notify_type=_type(severity), body_format=NotifyFormat.TEXT, interpret_escapes=False
        )
    finally:
        _heard.reset(listening)
    if not sent:
        raise _failure(what, heard)


def _failure(what: str, heard: list[str]) -> NotifyDownError | NotifyRefusedError:
    statuses = [int(found[1]) for line in heard if (found := _STATUS.search(line))]
    if not statuses:
        return NotifyDownError(f"{what}: no answer")
    status = statuses[-1]
    if status >= 500 or status in _LATER:
        return NotifyDownError(f"{what}: answered {status}")
    hint = ", and redirects are not followed" if 300 <= status < 400 else ""
    return NotifyRefusedError(f"{what}: refused, answered {status}{hint}")


def _place_of(url: str) -> str:
    plugin = _plugin(url)
    if plugin is None:
        scheme = url.partition("://")[0]
        return f"{scheme:.20}://..."
    # The path and the question may be secret, also where Apprise takes them for none.
    shown = urlsplit(plugin.url(privacy=True))  # type: ignore[no-untyped-call]
    return f"{shown.scheme}://{shown.netloc.rpartition('@')[2]:.80}"


def _plugin(url: str) -> NotifyBase | None:
    from apprise import Apprise

    _listen()
    return Apprise.instantiate(url, asset=_asset())


def _type(severity: str) -> NotifyType:
    from apprise import NotifyType

    return NotifyType(SEVERITIES[severity])


@cache
def _asset() -> AppriseAsset:
    # Imported when first needed: Apprise takes a third of a second, and most processes notify nobody.
    from apprise import AppriseAsset

    return AppriseAsset(
        app_id="dirtfree-jobs",
        async_mode=False,  # this thread is its own
        http_redirects=False,
        secure_logging=True,
        interpret_escapes=False,
        interpret_emojis=False,
        default_service_retry=0,
        storage_mode="memory",
    )


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def _hear(record: logging.LogRecord) -> bool:
    """Keeps what Apprise logs for the call that it is about, and lets it go no further: at times it is a whole URL."""
    heard = _heard.get()
    if heard is not None and record.levelno >= logging.WARNING:
        heard.append(record.getMessage())
    return False


@cache
def _listen() -> None:
    logging.getLogger("apprise").addFilter(_hear)
