"""The transaction that a bulk load writes in: its own, or a part of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlmodel import Session

from models import database


@contextmanager
def joined_transaction(on: Session | psycopg.Connection[Any] | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a transaction: all that is done in it is kept, or nothing where it raises.

    Args:
        on: None for a transaction of its own; a session, whose commit then decides; or a connection, where it is
            part of a transaction that has begun, and else commits at its end.
    """
    if on is None:
        with database.transaction() as connection:
            yield connection
        return
    if isinstance(on, Session):
        driver = on.connection().connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        # The session begins with its first statement, and what follows is then a savepoint in its transaction.
        driver.execute("SELECT 1")
        on = driver
    with on.transaction():
        yield on
