"""The schema: which revision the database is at, and bringing it up to this code's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import NullPool, create_engine

if TYPE_CHECKING:
    from alembic.config import Config

#: Taken while the schema is made or upgraded, so that processes that start together do it once. Any constant would do.
_MIGRATION_LOCK = 0x6469727466726565
_MIGRATIONS = Path(__file__).with_name("migrations")
#: A server that does not answer in this many seconds is reported instead of waited for.
CONNECT_TIMEOUT_SECONDS = 10


class SchemaError(RuntimeError):
    """The database's schema is not the one this code needs."""


def ensure_schema(url: str, *, upgrade: bool) -> list[str]:
    """Compares the schema with this code's and upgrades it if asked to.

    Returns:
        The revisions that were applied, oldest first; empty when there was nothing to do.

    Raises:
        SchemaError: when it is out of date and `upgrade` is false, or newer than this code.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        found = _revision(connection)
        if found == known_revisions()[-1]:
            return []
        _check_known(found)
        if not upgrade:
            raise SchemaError(
                f"the database's schema is at revision {found or 'none'}, this code needs {known_revisions()[-1]}: "
                "run `jobs migrate`"
            )
        connection.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        return _upgrade(url, _revision(connection))


def _check_known(found: str | None) -> None:
    if found is not None and found not in known_revisions():
        raise SchemaError(
            f"the database's schema is at revision {found}, which this code does not know (it knows up to "
            f"{known_revisions()[-1]}): deploy the newer code, or use another database"
        )


def _revision(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if row is None or row[0] is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions of this code, oldest first."""
    # The files are numbered; reading the folder is 300 ms faster than importing Alembic for it.
    return tuple(sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")))


def _upgrade(url: str, found: str | None) -> list[str]:
    from alembic import command

    _check_known(found)
    config = alembic_config()
    migrating = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with migrating.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    revisions = known_revisions()
    return list(revisions[revisions.index(found) + 1 :] if found else revisions)


def alembic_config() -> Config:
    """Alembic's configuration; its `attributes` want a `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
