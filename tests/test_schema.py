"""The schema: what the migrations make is what the SQLModel classes say and what the guide prescribes."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import models.analytics_table
import models.backlog_samples
import models.bulk_tables
import models.crm
import models.jobs
import models.payments
import models.sync  # noqa: F401 - all fill SQLModel.metadata
from models import schema
from models.schema import SchemaError, alembic_config, ensure_schema

GUIDE = """
CREATE TABLE background_jobs (
  id TEXT PRIMARY KEY,
  job_type VARCHAR(50) NOT NULL,
  payload JSONB NOT NULL DEFAULT '{}',
  status VARCHAR(20) NOT NULL DEFAULT 'pending',
  priority INTEGER NOT NULL DEFAULT 5,
  retry_count INTEGER NOT NULL DEFAULT 0,
  max_retries INTEGER NOT NULL DEFAULT 3,
  scheduled_for TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  started_at TIMESTAMPTZ,
  completed_at TIMESTAMPTZ,
  error_message TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_jobs_status_scheduled
  ON background_jobs(status, scheduled_for)
  WHERE status IN ('pending', 'processing');
CREATE INDEX idx_jobs_type_status
  ON background_jobs(job_type, status);
CREATE INDEX idx_jobs_created_at
  ON background_jobs(created_at DESC);
CREATE INDEX idx_jobs_priority
  ON background_jobs(priority DESC, scheduled_for ASC)
  WHERE status = 'pending';
"""
COLUMNS = """
SELECT class.relname, attribute.attname, format_type(attribute.atttypid, attribute.atttypmod), attribute.attnotnull,
    attribute.attidentity, pg_get_expr(standard.adbin, standard.adrelid), col_description(class.oid, attribute.attnum)
FROM pg_attribute AS attribute
JOIN pg_class AS class ON class.oid = attribute.attrelid AND class.relkind = 'r'
LEFT JOIN pg_attrdef AS standard ON standard.adrelid = class.oid AND standard.adnum = attribute.attnum
WHERE class.relnamespace = 'public'::regnamespace AND attribute.attnum > 0 AND NOT attribute.attisdropped
  AND class.relname <> 'alembic_version'
ORDER BY class.relname, attribute.attnum
"""
INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY indexname
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' AND contype <> 'n'
ORDER BY conrelid::regclass::text, conname
"""
FUNCTIONS = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY proname"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def empty(cluster: str) -> Iterator[str]:
    """The URL of an empty database."""
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute("CREATE DATABASE scratch")
    try:
        yield urlsplit(cluster)._replace(path="/scratch").geturl()
    finally:
        with psycopg.connect(cluster, autocommit=True) as connection:
            connection.execute("DROP DATABASE scratch WITH (FORCE)")


def _read(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]


def _run(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", [COLUMNS, INDEXES, CONSTRAINTS], ids=["columns", "indexes", "constraints"])
def test_the_migrations_make_what_the_classes_say(empty: str, migrated: str, what: str) -> None:
    # The one function that a column's default names.
    _run(empty, "CREATE FUNCTION new_job_id() RETURNS text LANGUAGE sql AS $$ SELECT '' $$")
    engine = create_engine(empty.replace("postgresql://", "postgresql+psycopg://", 1))
    SQLModel.metadata.create_all(engine)
    engine.dispose()

    assert _read(migrated, what) == _read(empty, what)


def test_the_guides_columns_come_first_and_to_the_letter(empty: str, migrated: str) -> None:
    _run(empty, GUIDE)
    guides = _read(empty, COLUMNS)
    ours = [column for column in _read(migrated, COLUMNS) if column[0] == "background_jobs"]

    assert len(guides) == 13
    # A row without an id gets one; the guide leaves it to the caller.
    assert ours[0][:5] == guides[0][:5]
    assert [column[:6] for column in ours[1:13]] == [column[:6] for column in guides[1:]]


def test_a_row_by_the_guides_columns_alone_is_a_whole_job(migrated: str) -> None:
    with psycopg.connect(migrated) as connection:
        row = connection.execute(
            "INSERT INTO background_jobs (job_type) VALUES ('note') RETURNING id, status, priority, payload, lost_count"
        ).fetchone()
        connection.rollback()

    assert row is not None and row[0]
    assert row[1:] == ("pending", 5, {}, 0)


def test_the_guides_four_indexes_are_there_to_the_letter(empty: str, migrated: str) -> None:
    _run(empty, GUIDE)
    guides = [index for index in _read(empty, INDEXES) if str(index[1]).startswith("idx_")]

    assert len(guides) == 4
    assert set(guides) <= set(_read(migrated, INDEXES))


def test_downgrading_to_the_base_leaves_nothing_and_upgrading_comes_back(empty: str, migrated: str) -> None:
    from alembic import command

    ensure_schema(empty, upgrade=True)
    engine = create_engine(empty.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()

    assert _read(empty, COLUMNS) == [] == _read(empty, FUNCTIONS)
    assert ensure_schema(empty, upgrade=True)[0] == "0001"
    for what in (COLUMNS, INDEXES, CONSTRAINTS, FUNCTIONS):
        assert _read(empty, what) == _read(migrated, what)


def test_four_processes_that_migrate_at_once_do_it_once(empty: str) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as processes:
        applied = processes.starmap(_migrate, [(empty,)] * 4)

    assert sorted(map(len, applied)) == [0, 0, 0, len(_revisions())]
    assert _read(empty, "SELECT version_num FROM alembic_version") == [(_revisions()[-1],)]


def _migrate(url: str) -> list[str]:
    return ensure_schema(url, upgrade=True)


def _revisions() -> list[str]:
    versions = Path(schema.__file__).with_name("migrations") / "versions"
    return sorted(path.name[:4] for path in versions.glob("0*.py"))


def test_a_database_that_is_behind_is_refused_with_what_to_do(empty: str) -> None:
    with pytest.raises(SchemaError, match=r"revision none, this code needs \d{4}: run `jobs migrate`"):
        ensure_schema(empty, upgrade=False)
    assert _read(empty, COLUMNS) == []


def test_a_database_of_newer_code_is_refused_and_left_alone(empty: str) -> None:
    ensure_schema(empty, upgrade=True)
    _run(empty, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaError, match=r"revision 9999.*this code does not know.*deploy the newer code"):
        ensure_schema(empty, upgrade=True)
    assert _read(empty, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_process_that_may_not_migrate_says_the_same_of_a_newer_database(empty: str) -> None:
    ensure_schema(empty, upgrade=True)
    _run(empty, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaError, match=r"deploy the newer code"):
        ensure_schema(empty, upgrade=False)


def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    _run(empty, "CREATE TABLE audit_log (mine int)")

    with pytest.raises(Exception, match="audit_log"):
        ensure_schema(empty, upgrade=True)

    assert {row[0] for row in _read(empty, COLUMNS)} == {"audit_log"}
    assert _read(empty, FUNCTIONS) == []


def test_every_migration_is_numbered_in_turn() -> None:
    assert [int(revision) for revision in _revisions()] == list(range(1, len(_revisions()) + 1))
    assert all(re.fullmatch(r"\d{4}", revision) for revision in _revisions())
