"""One at a time, over all workers: PostgreSQL's advisory locks, which are free again the moment their holder dies.

A worker holds all of its locks on one connection of its own per event loop. The pool's connections are too few to wait
on a mail server, and a time limit in a row would keep a killed worker's work blocked until it has passed.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

import psycopg

from models import database
from models.schema import CONNECT_TIMEOUT_SECONDS

#: How often a taken lock is asked for again.
LOOK_AGAIN_SECONDS = 0.1


class AlreadyRunningError(RuntimeError):
    """Somebody else is doing the same at this moment, and did not finish while we waited."""


@asynccontextmanager
async def exclusive(key: str, *, patience: float) -> AsyncIterator[None]:
    """Holds the lock named `key`, among all workers and within this one.

    Should the connection that holds it break, the lock is lost without notice: this keeps work from being done twice at
    the same moment, and what is done must bear it all the same.

    Args:
        patience: seconds to wait for whoever has it.

    Raises:
        AlreadyRunningError: when it is still taken after that.
    """
    locks = _locks()
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)
    taken = AlreadyRunningError(f"{key} is being done by another job, and was not done after {patience:g} s")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    # First among ourselves, so that at most one job of this loop asks the database about this lock.
    own = locks.own(number)
    try:
        async with asyncio.timeout(patience):
            await own.acquire()
    except TimeoutError:
        raise taken from None
    try:
        while not await locks.take(number):
            if loop.time() >= deadline:
                raise taken
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        try:
            yield
        finally:
            await locks.give_back(number)
    finally:
        own.release()


class _Locks:
    """The locks of one event loop."""

    def __init__(self) -> None:
        self._own: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._turn = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._at_end: AsyncGenerator[None, None] | None = None

    def own(self, number: int) -> asyncio.Lock:
        """The lock among the jobs of this loop; PostgreSQL grants a session its own lock a second time."""
        return self._own.setdefault(number, asyncio.Lock())

    async def take(self, number: int) -> bool:
        return await self._ask("SELECT pg_try_advisory_lock(%s)", number)

    async def give_back(self, number: int) -> None:
        # When the connection broke meanwhile, the lock went with it.
        with suppress(psycopg.OperationalError):
            await self._ask("SELECT pg_advisory_unlock(%s)", number)

    async def _ask(self, question: str, number: int) -> bool:
        async with self._turn:
            connection = await self._connected()
            try:
                row = await (await connection.execute(question, [number])).fetchone()
            except BaseException:
                # Interrupted in between, nobody knows whether the lock was granted; closed, it is free for certain.
                await self._close()
                raise
        return row is not None and bool(row[0])

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                # Past any pooler: it would hand each statement to another session.
                database.listen_url(),
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name="dirtfree-jobs-locks",
                keepalives_idle=5,
                keepalives_interval=5,
                keepalives_count=2,
            )
        if self._at_end is None:
            self._at_end = self._until_the_loop_ends()
            await anext(self._at_end)
        return self._connection

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        # asyncio closes the generators that are still open when a loop ends; there is no other notice of it.
        try:
            yield
        finally:
            await self._close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


_by_loop: dict[asyncio.AbstractEventLoop, _Locks] = {}
_by_loop_lock = threading.Lock()


def _locks() -> _Locks:
    loop = asyncio.get_running_loop()
    with _by_loop_lock:
        for ended in [other for other in _by_loop if other.is_closed()]:
            del _by_loop[ended]
        return _by_loop.setdefault(loop, _Locks())
