"""A database that no other test reaches: its rows, its statistics and what is counted of its reads are its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from models import database
from models.schema import ensure_schema
from models.settings import settings

_NO_AUTOVACUUM = """
DO $$ DECLARE name regclass; BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', name);
    END LOOP;
END $$
"""


@contextmanager
def own_database(migrated: str, name: str) -> Iterator[str]:
    """A migrated, empty database of this name as this process's DATABASE_URL; dropped at the end of the block.

    Autovacuum leaves its tables alone: the planner knows what a test says that it knows.
    """
    url = urlunsplit(urlsplit(migrated)._replace(path=f"/{name}"))
    with psycopg.connect(migrated, autocommit=True) as server, pytest.MonkeyPatch.context() as patch:
        server.execute(f"CREATE DATABASE {name}".encode())
        patch.setenv("DATABASE_URL", url)
        settings.cache_clear()
        database.renew()
        try:
            ensure_schema(url, upgrade=True)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_NO_AUTOVACUUM)
            yield url
        finally:
            database.renew()
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            patch.undo()
            settings.cache_clear()
