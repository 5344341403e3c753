"""What fails as a whole, tried in parts: how a batch in one call gets rid of the few jobs that break it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

Item = TypeVar("Item")

#: Into how many parts a call that failed is split. For one bad job among 1,000, quarters take as many calls as halves
#: (21), of which 6 fail instead of 11, and it is the failing ones that may take a time-out each; when all are bad,
#: they take 1.4 calls a job instead of 2.
PARTS = 4
#: While nothing at all succeeds, failing calls may take this many time-outs: of 1,000 jobs, four have by then been
#: tried alone, and each larger part that they belong to.
MOST_TIMEOUTS = 20


async def in_parts(items: list[Item], attempt: Callable[[list[Item]], Awaitable[bool]]) -> None:
    """Awaits `attempt(items)`, and where it says False the same of their parts, and of the parts' parts.

    All parts of what failed come before the parts of any of them: what is fine does not wait for what hangs.

    Args:
        items: in order; a part is a run of them.
        attempt: must not raise, nor say False of a single item.
    """
    waiting = [[items]]
    while waiting:
        failed = [part for part in waiting.pop() if not await attempt(part)]
        waiting += [_parts(part) for part in reversed(failed)]


def _parts(items: list[Item]) -> list[list[Item]]:
    size = math.ceil(len(items) / PARTS)
    return [items[start : start + size] for start in range(0, len(items), size)]


class Patience:
    """For how long what fails is split: as long as it takes once any call has succeeded; until then, some time-outs.

    When the first calls all hang, it is not for a few jobs among them: each of a thousand would hang as well.

    Args:
        timeout_seconds: what one call may take; None: no limit, and no end of patience.
    """

    def __init__(self, timeout_seconds: float | None) -> None:
        self._left = math.inf if timeout_seconds is None else MOST_TIMEOUTS * timeout_seconds
        #: The error that all that is left ends with.
        self.ended_by: BaseException | None = None

    def succeeded(self) -> None:
        """A call has returned."""
        self._left = math.inf

    def failed(self, error: BaseException, seconds: float) -> None:
        """A call has raised after so many seconds."""
        self._left -= seconds
        if self._left <= 0:
            self.ended_by = error
