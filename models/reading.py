"""Reads that cannot hurt the queue: connections of their own, read-only, one snapshot a read, cut off after 2 s."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import psycopg
from sqlalchemy.pool import QueuePool

from models import database
from models.schema import CONNECT_TIMEOUT_SECONDS

#: A page asks for a handful of panels at once; more viewers share the answers.
CONNECTIONS = 4
#: What takes longer is cut off: the database has jobs to run.
STATEMENT_TIMEOUT_SECONDS = 2.0
APPLICATION_NAME = "dirtfree-jobs dashboard"

_lock = threading.Lock()
_pool: QueuePool | None = None


@contextmanager
def reading(*, timeout: float | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a read-only transaction with one snapshot, and `timeout` seconds (None: 2) for each statement.

    Raises:
        psycopg.errors.QueryCanceled: when a statement took longer.
        sqlalchemy.exc.TimeoutError: when no connection became free in 10 s.
    """
    pooled = _connections().connect()
    try:
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)
        with connection.transaction():
            seconds = STATEMENT_TIMEOUT_SECONDS if timeout is None else timeout
            connection.execute(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
            # Statistics are behind when it matters most, and compiling takes longer than these statements run.
            connection.execute("SET LOCAL jit = off")
            yield connection
    except psycopg.OperationalError as error:
        # A statement that was cut off leaves the connection whole; else the server went away, under all of them.
        if not isinstance(error, psycopg.errors.QueryCanceled):
            pooled.invalidate()
            _close()
        raise
    finally:
        pooled.close()


def fetch(sql: Any, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> pd.DataFrame:
    """The rows of one statement as a frame; times are UTC-aware."""
    with reading() as connection:
        return frame_of(connection.execute(sql, parameters))


def frame_of(cursor: psycopg.Cursor[Any]) -> pd.DataFrame:
    """What a cursor has, as a frame: times UTC-aware, floats with NaN for NULL, all else as it came, None for NULL."""
    assert cursor.description is not None
    columns = [column.name for column in cursor.description]
    frame = pd.DataFrame(cursor.fetchall(), columns=columns, dtype=object)
    for column in cursor.description:
        values = frame[column.name]
        if column.type_code == _TIMESTAMPTZ:
            frame[column.name] = pd.to_datetime(values, utc=True)
        elif column.type_code == _FLOAT8:
            frame[column.name] = values.astype(float)
        elif column.type_code in _WHOLE and not values.isna().any():
            frame[column.name] = values.astype("int64")
        elif column.type_code == _BOOL and not values.isna().any():
            frame[column.name] = values.astype(bool)
    return frame


#: Types by their numbers in pg_type.
_BOOL, _WHOLE, _FLOAT8, _TIMESTAMPTZ = 16, (20, 21, 23), 701, 1184


def _connections() -> QueuePool:
    global _pool
    database.engine()  # the schema is there, and the embedded PostgreSQL runs
    with _lock:
        if _pool is None:
            _pool = QueuePool(
                _connect,  # type: ignore[arg-type]
                pool_size=CONNECTIONS,
                max_overflow=0,
                timeout=10,
                reset_on_return="rollback",
                use_lifo=True,
            )
            database.at_renewal(_close)
        return _pool


def _connect() -> psycopg.Connection[Any]:
    connection = psycopg.connect(
        database.database_url(), connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name=APPLICATION_NAME
    )
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return connection


def _close() -> None:
    global _pool
    with _lock:
        if _pool is not None:
            _pool.dispose()
            _pool = None
