"""Handing a message over once: it is written down before and after, whatever channel it goes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from models.exclusive import exclusive
from models.messages import MessageKey, begin_sending, record_sent
from tasks.context import stage
from tasks.services.no_return import to_its_end

#: How long a job waits for another one that is sending the same message; then it fails and is tried again.
PATIENCE_SECONDS = 10.0

Send = Callable[[], Awaitable[bool | None]]


async def deliver_alone(key: MessageKey, channel: str, send: Send, *, lock: str = "message") -> bool:
    """As `deliver`, one job at a time: two that send the same message at the same moment send it once.

    Raises:
        AlreadyRunningError: when another job was still sending it after 10 s.
    """
    async with exclusive(f"{lock} {key.id}", patience=PATIENCE_SECONDS):
        return await deliver(key, channel, send)


async def deliver(key: MessageKey, channel: str, send: Send) -> bool:
    """Calls `send` unless the message went out already, and writes down that it did.

    Returns:
        Whether this call sent it; `send` may say False: it was done by an earlier attempt. Cancelled past the
        `point_of_no_return` of `send`, it is written down before the cancellation goes on.
    """
    with stage("record"):
        if not await begin_sending(key, channel):
            return False

    async def send_and_record() -> bool:
        with stage("work"):
            sent = await send()
        with stage("record"):
            await record_sent(key, channel)
        return sent is not False

    return await to_its_end(send_and_record)
