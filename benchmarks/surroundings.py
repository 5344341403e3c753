"""A database and a Prefect server of their own for the measurements, gone afterwards."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.ports import free_port
from deployments.prefect_server import PrefectServer
from models import database
from models.settings import settings


@contextmanager
def surroundings() -> Iterator[None]:
    """Embedded PostgreSQL (durable, as in production) and a Prefect server in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="dirtfree-bench-"))
    folder.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("JOB_QUEUE_") or name == "DATABASE_URL"]:
        del os.environ[name]
    os.environ["JOB_QUEUE_DATA_DIR"] = str(folder)
    settings.cache_clear()
    server = PrefectServer(usual_port=free_port(4220))
    try:
        server.begin()
        database.engine()
        server.wait()
        os.environ.update(server.environment)
        yield
    finally:
        server.stop()
        database.dispose()
        shutil.rmtree(folder, ignore_errors=True)


def configure(*, concurrency: int, batch_size: int) -> None:
    """Other slots for the next measurement."""
    os.environ |= {"JOB_QUEUE_CONCURRENCY": str(concurrency), "JOB_QUEUE_BATCH_SIZE": str(batch_size)}
    settings.cache_clear()
    database.renew()


def empty() -> None:
    """Empties the queue's tables, so that each measurement begins alike."""
    with database.transaction() as connection:
        connection.execute("TRUNCATE background_jobs, job_failures, job_metrics, workers CASCADE")


def machine() -> str:
    """What the figures were measured on."""
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')"
        ).fetchone()
    assert row is not None
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {row[0]}, fsync {row[1]}, "
        f"synchronous_commit {row[2]}"
    )
