"""The settings: read once, refused at start with the name, the value and what was expected; secrets are never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from models import database as databases
from models.settings import Settings, SettingsError, libpq_url, settings

Configure = Callable[..., None]

WRONG = [
    ("JOB_QUEUE_CONCURRENCY", "0", "greater than or equal to 1"),
    ("JOB_QUEUE_CONCURRENCY", "65", "less than or equal to 64"),
    ("JOB_QUEUE_CONCURRENCY", "many", "valid integer"),
    ("JOB_QUEUE_BATCH_SIZE", "0", "greater than or equal to 1"),
    ("JOB_QUEUE_BATCH_SIZE", "1001", "less than or equal to 1000"),
    ("JOB_QUEUE_POLL_INTERVAL", "99", "greater than or equal to 100"),
    ("JOB_QUEUE_POLL_INTERVAL", "5s", "valid integer"),
    ("JOB_QUEUE_FAIR_EVERY", "1", "greater than or equal to 2"),
    ("JOB_QUEUE_GRACE_PERIOD", "-1", "greater than or equal to 0"),
    ("JOB_QUEUE_GRACE_PERIOD", "nan", "less than or equal to 3600"),
    ("JOB_QUEUE_PERSISTENCE", "maybe", "valid boolean"),
    ("JOB_QUEUE_MODULES", "my jobs", "dotted module names separated by commas"),
    ("JOB_QUEUE_MODULES", "jobs.,more", "dotted module names separated by commas"),
    ("JOB_QUEUE_DATA_DIR", "", "expected a path, got nothing; leave the setting out"),
    ("PUBLIC_URL", "ftp://host", "expected https://host or http://host"),
    ("MAIL_FROM", "nobody", "expected"),
]
SECRET = "hunter2-hunter2"
WRONG_SECRETS = [
    ("DATABASE_URL", f"mysql://bob:{SECRET}@db", "expected a postgres:// or postgresql:// URL, got the scheme 'mysql'"),
    ("DATABASE_URL", f"b:{SECRET}@db/crm", "expected a postgres:// or postgresql:// URL"),
    ("DATABASE_URL", f"postgresql://b:{SECRET}%zz@db/crm", "expected postgresql://user:password@host"),
    ("DATABASE_URL", f"postgresql://b:p@{SECRET}@db/crm", "expected postgresql://user:password@host"),
    ("JOB_QUEUE_LISTEN_URL", f"https://bob:{SECRET}@db", "expected a postgres:// or postgresql:// URL"),
    ("SMTP_URL", f"smtp://bob:{SECRET}@host:port", "expected smtp://"),
    ("JOB_QUEUE_SIGNING_KEY", "hunter2", "expected at least 16 characters, got 7"),
]


@pytest.mark.parametrize(("name", "wrong", "expected"), WRONG)
def test_a_wrong_setting_is_named_with_its_value_and_what_was_expected(
    configure: Configure, name: str, wrong: str, expected: str
) -> None:
    configure(**{name: wrong})

    with pytest.raises(SettingsError) as refused:
        settings()

    assert f"{name}={wrong!r}: " in str(refused.value)
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", ["REPORT_DIR", "CRM_SYNC_FOLDER", "CRM_SYNC_MAPPING"])
def test_an_optional_folder_left_empty_is_not_the_working_directory(configure: Configure, name: str) -> None:
    configure(**{name: " "})
    assert getattr(settings(), name.lower()) is None
    configure(**{name: "~/here"})
    assert getattr(settings(), name.lower()) == Path.home() / "here"


def test_all_wrong_settings_are_named_at_once(configure: Configure) -> None:
    configure(JOB_QUEUE_CONCURRENCY="0", JOB_QUEUE_BATCH_SIZE="x", JOB_QUEUE_FAIR_EVERY="1")

    with pytest.raises(SettingsError) as refused:
        settings()

    assert len(str(refused.value).splitlines()) == 4


@pytest.mark.parametrize(("name", "wrong", "expected"), WRONG_SECRETS)
def test_a_wrong_secret_is_named_and_not_shown(configure: Configure, name: str, wrong: str, expected: str) -> None:
    configure(**{name: wrong})

    with pytest.raises(SettingsError) as refused:
        settings()

    assert f"{name}=a secret value: {expected}" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None, "pydantic's own message shows the input"


def test_secrets_do_not_show_when_settings_are_printed(configure: Configure) -> None:
    configure(
        DATABASE_URL=f"postgresql://bob:{SECRET}@db/crm",
        JOB_QUEUE_LISTEN_URL=f"postgresql://bob:{SECRET}@db/crm",
        JOB_QUEUE_SIGNING_KEY=SECRET * 2,
        SMTP_URL=f"smtp://bob:{SECRET}@mail.example:25",
    )

    assert SECRET not in f"{settings()!r} {settings()!s} {settings().model_dump()}"


def test_a_throw_away_database_beside_a_real_one_is_refused(configure: Configure) -> None:
    configure(JOB_QUEUE_PERSISTENCE="false", DATABASE_URL=f"postgresql://bob:{SECRET}@db/crm")

    with pytest.raises(SettingsError, match="JOB_QUEUE_PERSISTENCE=false .* DATABASE_URL .* unset one") as refused:
        settings()

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg", "postgresql+psycopg2", " postgres"]
)
@pytest.mark.parametrize(
    "rest", ["db/crm", "bob:p%40ss@db:5433/crm?sslmode=require", "/crm?host=/tmp/socket", "[::1]:5432/c", "a:1,b:2/crm"]
)
def test_every_form_of_a_postgres_url_becomes_libpqs(scheme: str, rest: str) -> None:
    assert libpq_url(f"{scheme}://{rest}") == f"postgresql://{rest}"


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_url_is_none(configure: Configure, blank: str) -> None:
    configure(DATABASE_URL=blank, JOB_QUEUE_LISTEN_URL=blank)

    assert settings().database_url is None
    assert settings().listen_url is None


@pytest.mark.parametrize(
    "form",
    [
        "postgres://postgres@/{database}?host={folder}&port={port}",
        "postgresql+asyncpg://postgres@/{database}?host={folder}&port={port}&connect_timeout=60",
        "postgresql:///{database}?host={folder}&port={port}&user=postgres&options=-c%20statement_timeout%3D60000",
        "postgresql://postgres@/{database}?host={folder},{folder}&port={port},{port}",
        "postgresql://postgres@{encoded}:{port}/{database}",
        "postgresql://postgres@{encoded}:{port},{encoded}:{port}/{database}",
    ],
)
def test_the_engine_reaches_the_database_by_every_form(database: str, configure: Configure, form: str) -> None:
    url = urlsplit(database)
    folder, port = (parse_qs(url.query)[name][0] for name in ("host", "port"))
    encoded = folder.replace("/", "%2F")
    databases.dispose()
    try:
        configure(DATABASE_URL=form.format(database=url.path[1:], folder=folder, port=port, encoded=encoded))

        with databases.engine().connect() as connection:
            assert connection.execute(text("SELECT current_database()")).scalar() == url.path[1:]
    finally:
        databases.dispose()


def test_the_defaults_are_the_guides(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # away from a developer's own .env
    configure()

    assert (settings().concurrency, settings().poll_interval_ms, settings().persistence) == (3, 5000, True)


def test_an_env_file_counts_and_the_environment_wins(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("JOB_QUEUE_CONCURRENCY=7\nJOB_QUEUE_BATCH_SIZE=9\nSOMETHING_ELSE=1\n")
    monkeypatch.chdir(tmp_path)
    configure(JOB_QUEUE_BATCH_SIZE="11")

    assert (settings().concurrency, settings().batch_size) == (7, 11)


def test_settings_cannot_be_changed_by_accident(configure: Configure) -> None:
    configure()
    anything: Any = settings()

    with pytest.raises(ValueError, match="frozen"):
        anything.concurrency = 9


def test_every_setting_says_what_it_is_for() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not (field.alias and field.description)]

    assert undescribed == []
