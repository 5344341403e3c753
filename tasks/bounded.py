"""Doing many things with a bound on how many at once: the heart of a batch, and `batch_process` for everybody."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio.to_thread
from anyio.from_thread import start_blocking_portal

Item = TypeVar("Item")


async def for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], at_once: int) -> None:
    """Awaits `work(item)` for every item, `at_once` at a time, in order of start.

    A few consumers take from one iterator, instead of one task an item behind a semaphore: a thousand short jobs then
    cost a few tasks. `work` must not raise.
    """
    waiting = iter(items)

    async def consume() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as consumers:
        for _ in range(at_once):
            consumers.create_task(consume())


async def in_thread(
    function: Callable[[Item], Any], item: Item, *, limiter: anyio.CapacityLimiter, abandon: bool = False
) -> Any:
    """Calls a `def` in a thread; `abandon`: when cancelled, it runs on there, unheeded."""
    result, error = await anyio.to_thread.run_sync(
        _caught, function, item, limiter=limiter, abandon_on_cancel=abandon
    )
    if error is not None:
        raise error
    return result


def _caught(function: Callable[[Item], Any], item: Item) -> tuple[Any, BaseException | None]:
    # As a value: a future takes no StopIteration, and throws GeneratorExit past everybody.
    try:
        return function(item), None
    except BaseException as error:
        return None, error


def is_teardown(error: BaseException, everything: asyncio.Task[Any] | None) -> bool:
    """Whether the work was cancelled from outside, and is not to be continued; everybody may raise CancelledError.

    Args:
        error: what one item's work raised.
        everything: the task that runs `for_each`; from outside, it is cancelled too.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    if everything is None or everything.cancelling():
        return True
    current = asyncio.current_task()
    while current is not None and current.cancelling():  # the work cancelled its own task; the next item needs it
        current.uncancel()
    return False


@dataclass(frozen=True, slots=True)
class ItemOutcome(Generic[Item]):
    """What came of one item: its result, or the exception it raised."""

    item: Item
    result: Any = None
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def batch_process(
    items: Iterable[Item], processor: Callable[[Item], Any], batch_size: int = 50
) -> list[ItemOutcome[Item]]:
    """Calls `processor` for every item, `batch_size` at a time, and says what came of each, in the items' order.

    It never stops at the first error: a failed item's exception is in its outcome. The processor may be `async def`,
    `def` (then it runs in threads) or a job type's task (then its function runs, without Prefect). Works in scripts,
    flows and notebooks alike; blocks until all items are done.

    Raises:
        ValueError: when `batch_size` is under 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")
    function = getattr(processor, "fn", processor)
    ordered = list(items)
    outcomes: list[ItemOutcome[Item] | None] = [None] * len(ordered)

    async def run_all() -> None:
        threads = anyio.CapacityLimiter(batch_size)
        everything = asyncio.current_task()

        async def run(numbered: tuple[int, Item]) -> None:
            place, item = numbered
            try:
                if inspect.iscoroutinefunction(function):
                    result = await function(item)
                else:
                    result = await in_thread(function, item, limiter=threads)
                    if inspect.isawaitable(result):
                        result = await result
                outcomes[place] = ItemOutcome(item, result)
            # SystemExit and CancelledError included: left alone, they would end a consumer, and the loop.
            except BaseException as error:
                if is_teardown(error, everything):
                    raise
                outcomes[place] = ItemOutcome(item, error=error)

        await for_each(enumerate(ordered), run, min(batch_size, max(1, len(ordered))))

    # A loop of its own, in a thread: a notebook's main thread runs one already.
    with start_blocking_portal() as portal:
        portal.call(run_all)
    return [outcome for outcome in outcomes if outcome is not None]
