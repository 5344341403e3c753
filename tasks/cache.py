"""Keeping for a short time what every job of a batch reads: a promotion, a template."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakSet

from cachetools import TTLCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_caches: WeakSet[Cache] = WeakSet()  # type: ignore[type-arg]


class Cache(Generic[Key, Value]):
    """One load a key and period, however many jobs ask; what was not found (None) is looked for again.

    Args:
        load: reads one, None when there is none.
        seconds: how long it is believed. What changes in the database is seen this much later.
        most: how many are kept; the least recently used goes first.
        timer: the clock of `seconds`.
    """

    def __init__(
        self,
        load: Callable[[Key], Awaitable[Value | None]],
        *,
        seconds: float,
        most: int = 1_000,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._kept: TTLCache[Key, Value] = TTLCache(most, seconds, timer)
        #: Loads under way, by event loop: what is awaited in one cannot be awaited in another.
        self._loading: dict[tuple[int, Key], asyncio.Task[Value | None]] = {}
        _caches.add(self)

    async def get(self, key: Key) -> Value | None:
        """The value of the key; an error of the load goes to all who wait for it, and is not kept."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        place = id(asyncio.get_running_loop()), key
        loading = self._loading.get(place)
        if loading is None:
            # A task of its own: the job that asked first may be cancelled, and the others still want it.
            loading = self._loading[place] = asyncio.create_task(self._loaded(place))
        return await asyncio.shield(loading)

    async def _loaded(self, place: tuple[int, Key]) -> Value | None:
        try:
            value = await self._load(place[1])
            if value is not None:
                self._kept[place[1]] = value
            return value
        finally:
            del self._loading[place]

    def forget(self) -> None:
        """Loads everything anew."""
        self._kept.clear()


def forget_all() -> None:
    """Empties every cache of this process (after a change of database)."""
    for cache in list(_caches):
        cache.forget()
