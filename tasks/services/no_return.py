"""Ending what can no longer be taken back: a cancellation waits until the effect is known and written down.

    async def send() -> None:
        async with turn():            # cancelled here, nothing has happened
            point_of_no_return()
            await hand_over()         # cancelled here, it goes on ...

    await to_its_end(lambda: send_and_record())   # ... until it is recorded, and only then the cancellation goes on

A time-out, an operator's cancel or a drain may come at any moment. Between the effect and its record it would leave an
effect that nobody knows of, which a retry has once more; a call in a thread goes on anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

#: How long a cancellation waits. The services' own answer times are below: only one that drips for ever gets there.
PATIENCE_SECONDS = 90.0


class _Work:
    def __init__(self) -> None:
        self.under_way = False


_work: ContextVar[_Work | None] = ContextVar("work", default=None)
#: The event loop alone would let them go.
_tasks: set[asyncio.Task[object]] = set()


def point_of_no_return() -> None:
    """From here on, `to_its_end` lets no cancellation through."""
    work = _work.get()
    if work is not None:
        work.under_way = True


async def to_its_end(do: Callable[[], Awaitable[Result]]) -> Result:
    """Awaits `do()`; cancelled past its `point_of_no_return`, it is awaited all the same, and the cancellation follows.

    The caller is cancelled in any case: what has been done is found by whoever looks at its record.
    """
    work = _Work()

    async def run() -> Result:
        _work.set(work)
        return await do()

    task = asyncio.create_task(run())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not work.under_way:
            task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        if task.done() and not task.cancelled():
            task.exception()  # nobody else asks for it
        raise
