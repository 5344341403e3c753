"""Where the database is and how it is reached: one engine per process, on DATABASE_URL or the embedded PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Session

from models.embedded import EmbeddedPostgres, ThrowAwayPostgres
from models.schema import CONNECT_TIMEOUT_SECONDS, ensure_schema
from models.settings import settings

_DIALECT = "postgresql+psycopg://"
#: The pools connect with libpq's own URL: SQLAlchemy's takes fewer forms of it.
_CONNECT: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "dirtfree-jobs"}

_lock = threading.RLock()
_engine: Engine | None = None
#: What closes the connections that other modules keep.
_closers: list[Callable[[], None]] = []
#: One for each event loop: a pool that waited in one loop cannot be used in another.
_async_engines: dict[asyncio.AbstractEventLoop, tuple[AsyncEngine, AsyncGenerator[None, None]]] = {}


@cache
def _embedded() -> EmbeddedPostgres:
    if settings().persistence:
        return EmbeddedPostgres(settings().data_dir)
    return ThrowAwayPostgres()


def database_url() -> str:
    """The libpq URL of the project's database; starts (or joins) the embedded PostgreSQL without DATABASE_URL."""
    configured = settings().database_url
    if configured is not None:
        return configured.get_secret_value()
    return _embedded().start()


def listen_url() -> str:
    """The libpq URL for LISTEN: JOB_QUEUE_LISTEN_URL where a pooler is in front, else the database's own."""
    configured = settings().listen_url
    return configured.get_secret_value() if configured is not None else database_url()


def engine() -> Engine:
    """The engine of this process, its schema checked.

    Raises:
        SchemaError: when the schema of DATABASE_URL is not up to date; the embedded one is upgraded by itself.
    """
    global _engine
    with _lock:
        if _engine is None:
            url = database_url()
            ensure_schema(url, upgrade=settings().database_url is None)
            _engine = create_engine(_DIALECT, creator=lambda: psycopg.connect(url, **_CONNECT), **_pool_options())
        return _engine


def async_engine() -> AsyncEngine:
    """The engine of the running event loop, for `async def` processors: one per worker, as all of them share one loop.

    Its connections are closed when the loop ends.
    """
    loop = asyncio.get_running_loop()
    with _lock:
        for ended in [other for other in _async_engines if other.is_closed()]:
            del _async_engines[ended]
        if loop not in _async_engines:
            engine()
            url = database_url()
            made = create_async_engine(
                _DIALECT, async_creator=lambda: psycopg.AsyncConnection.connect(url, **_CONNECT), **_pool_options()
            )
            _async_engines[loop] = made, _dispose_at_the_end(made)
        return _async_engines[loop][0]


def _dispose_at_the_end(made: AsyncEngine) -> AsyncGenerator[None, None]:
    # asyncio closes the generators that are still open when a loop ends; there is no other notice of it.
    async def until_the_loop_ends() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await made.dispose()

    begun = until_the_loop_ends()
    with suppress(StopIteration):
        begun.__anext__().send(None)
    return begun


def _pool_options() -> dict[str, Any]:
    return {
        # What the README's connection budget counts with: a claim, a flush and the processors take turns.
        "pool_size": max(2, settings().concurrency),
        "max_overflow": 0,
        "pool_timeout": 60,
        "pool_pre_ping": True,
        # The connection used last is the one whose plans and caches are warm: a first claim takes 10 ms, a warm one 2.
        "pool_use_lifo": True,
    }


def session() -> Session:
    """A new session on the engine; use it as a context manager and commit."""
    return Session(engine())


@contextmanager
def transaction() -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection of the engine's pool in a transaction: committed at the end, rolled back on any error."""
    pooled = engine().raw_connection()
    try:
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)
        with connection.transaction():
            yield connection
    except psycopg.OperationalError:
        # The server went away: this connection and its pooled siblings are of no more use.
        pooled.invalidate()
        raise
    finally:
        pooled.close()


def connect(*, listen: bool = False, application_name: str = "dirtfree-jobs") -> psycopg.Connection[Any]:
    """A connection of its own, in autocommit, for what must not wait for the pool: heartbeat and LISTEN."""
    return psycopg.connect(
        listen_url() if listen else database_url(),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name=application_name,
        # Notice a dead network in about 15 s instead of the kernel's two hours.
        keepalives_idle=5,
        keepalives_interval=5,
        keepalives_count=2,
    )


def at_renewal(close: Callable[[], None]) -> None:
    """`close` is called whenever this process's connections are closed; for pools beside the engine's."""
    if close not in _closers:
        _closers.append(close)


def renew() -> None:
    """Closes this process's connections; the next use makes an engine by the settings as they are then."""
    global _engine
    with _lock:
        if _engine is not None:
            _engine.dispose()
        for made, _ in _async_engines.values():
            made.sync_engine.dispose(close=False)
        _async_engines.clear()
        _engine = None
        for close in _closers:
            close()


def dispose() -> None:
    """Closes this process's connections and leaves the embedded PostgreSQL, if it was started here."""
    with _lock:
        renew()
        if _embedded.cache_info().currsize:
            _embedded().stop()
            _embedded.cache_clear()
