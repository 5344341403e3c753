"""What the tests share: a real PostgreSQL and a real Prefect server, both their own and gone at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.ports import unused_port

_HOME = Path(tempfile.mkdtemp(prefix="dirtfree-tests-"))
_HOME.chmod(0o755)


# Before anything imports Prefect or reads the settings: nothing of the machine's own is used or touched.
for _name in [name for name in os.environ if name.startswith(("JOB_QUEUE_", "PREFECT_"))]:
    del os.environ[_name]
os.environ.pop("DATABASE_URL", None)
for _name in ("SMTP_URL", "NOTIFY_URLS", "SMS_URL", "COMPANY_TIME_ZONE", "QUIET_HOURS"):
    os.environ.pop(_name, None)
os.environ |= {
    "JOB_QUEUE_DATA_DIR": str(_HOME / "data"),
    "PREFECT_HOME": str(_HOME / "prefect"),
    "PREFECT_API_URL": f"http://127.0.0.1:{unused_port()}/api",
    # A stray task call must not start a server of its own.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}

import hypothesis  # noqa: E402
import psycopg  # noqa: E402
import pytest  # noqa: E402

from deployments.prefect_settings import apply_prefect_settings  # noqa: E402
from models import claims, database, door, reading, registry  # noqa: E402
from models.embedded import EmbeddedPostgres  # noqa: E402
from models.schema import ensure_schema  # noqa: E402
from models.settings import settings  # noqa: E402
from tasks import cache  # noqa: E402
from tasks.services import service  # noqa: E402
from tests import chromium  # noqa: E402
from tests.browser import browser, summary  # noqa: E402
from tests.cluster_users import cluster_root, cluster_template, data_dir, join, used_dir  # noqa: E402
from tests.payment_jobs import localstripe, stripe  # noqa: E402
from tests.running import Rows, empty  # noqa: E402

assert browser  # a fixture for every module
assert localstripe and stripe  # those of the payments
assert cluster_root and cluster_template and data_dir and used_dir and join  # those of the embedded PostgreSQL
chromium.begin()
apply_prefect_settings()
# A shared machine is slow at times, and a database is no pure function. Loaded here, so that it holds for every file:
# without it an example has 0.2 s.
hypothesis.settings.register_profile("queue", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("queue")

Settings = Callable[..., None]


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The URL of a PostgreSQL cluster of this test run."""
    server = EmbeddedPostgres(_HOME / "cluster", durable=False)
    (_HOME / "cluster").mkdir(exist_ok=True)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def migrated(cluster: str) -> Iterator[str]:
    """A migrated database, as this process's and its children's DATABASE_URL."""
    os.environ["DATABASE_URL"] = cluster
    settings.cache_clear()
    database.dispose()  # should an earlier test have reached for another one
    ensure_schema(cluster, upgrade=True)
    yield cluster
    database.dispose()
    del os.environ["DATABASE_URL"]
    settings.cache_clear()


@pytest.fixture(name="database")
def _database(migrated: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty, migrated database for one test: its URL. `models.database` and child processes reach it."""
    # Workers of this process begin their round of claims at its start: one test run in ten began with the fair claim,
    # which takes its lane and not the whole type.
    monkeypatch.setattr(claims, "random", SimpleNamespace(randrange=lambda turns: 0))
    # A read of a millisecond is cut off too when the machine stands still for two seconds. What reads cost is tested at
    # scale, without this fixture.
    monkeypatch.setattr(reading, "STATEMENT_TIMEOUT_SECONDS", 60.0)
    settings.cache_clear()
    door.forget_declared_types()
    cache.forget_all()
    service.forget_all()
    empty(migrated)
    return migrated


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Sets environment variables for one test and reads the settings anew."""

    def set_(**variables: Any) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    yield set_
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def nothing_cached(configure: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dashboard that shows no answer of an earlier test, and finds no Prefect, whatever runs on this machine."""
    from dashboard import answers

    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{unused_port()}/api")
    answers.forget()


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """The API URL of a Prefect server of this test run."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    from deployments.prefect_server import PrefectServer

    port = int(os.environ["PREFECT_API_URL"].rsplit(":", 1)[1].partition("/")[0])
    server = PrefectServer(usual_port=port)
    server.begin()
    try:
        assert server.port == port, "another program took the port meanwhile"
        server.wait()
        yield server.api_url
        # What is unsent when the server goes, Prefect tries to send for a minute while this process exits.
        EventsWorker.drain_all(timeout=10)
        APILogWorker.drain_all(timeout=10)
    finally:
        server.stop()


@pytest.fixture
def samples(database: str) -> Iterator[Rows]:
    """The job types of `sample_processors` in this process, their scratch table empty; and a look at the rows."""
    from tests import sample_processors

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sample_processors.SCRATCH)
    for job_type in sample_processors.SAMPLES:
        registry.register(job_type)
    rows = Rows(database)
    try:
        yield rows
    finally:
        rows.close()
        for job_type in sample_processors.SAMPLES:
            registry.unregister(job_type.name)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Looks for a Chromium (and installs one) before the first test, so that no test's time-out has to cover it."""
    asked = any("browser" in getattr(item, "fixturenames", ()) for item in session.items)
    if asked and not session.config.option.collectonly:
        chromium.chromium()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line says which browser the tests ran in, or that they did not run."""
    line = summary()
    if line is not None:
        terminalreporter.write_line(line, red="NOT RUN" in line, bold=True)


def pytest_unconfigure() -> None:
    """The run's own report of the browser and its folder go with it; the process that hands out tests has one too."""
    chromium.end()
    shutil.rmtree(_HOME, ignore_errors=True)
