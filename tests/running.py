"""What the tests of the worker share: child processes with real signals, waiting, and looks at the rows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from models.settings import PROJECT_ROOT

Result = TypeVar("Result")

#: A start takes 3-5 s here, and much more while others use the machine.
PATIENCE = 120.0


def until(
    condition: Callable[[], Result], *, seconds: float = PATIENCE, what: str = "it", every: float = 0.05
) -> Result:
    """Waits until the condition is true and returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(every)
    return result


def empty(url: str) -> None:
    """Empties all tables of a migrated database."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT string_agg(format('%I', tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchone()
        assert tables is not None
        connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE")


class Rows:
    """Looks at a database through a connection of its own, so that a look never waits for the worker's pool."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def all(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, parameters)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def one(self, sql: str, *parameters: Any) -> Any:
        """The first column of the first row."""
        return next(iter(self.all(sql, *parameters)[0].values()))

    def job(self, job_id: str) -> dict[str, Any]:
        return self.all("SELECT * FROM background_jobs WHERE id = %s", job_id)[0]

    def count(self, status: str, job_type: str | None = None) -> int:
        return int(
            self.one(
                "SELECT count(*) FROM background_jobs WHERE status = %s AND (%s::text IS NULL OR job_type = %s)",
                status, job_type, job_type,
            )
        )

    def failures(self, job_id: str) -> list[dict[str, Any]]:
        return self.all("SELECT * FROM job_failures WHERE job_id = %s ORDER BY id", job_id)

    def effects(self, job_id: str | None = None, note: str | None = None) -> int:
        """How many rows the processors left in the scratch table."""
        return int(
            self.one(
                "SELECT count(*) FROM scratch.effects"
                " WHERE (%s::text IS NULL OR job_id = %s) AND (%s::text IS NULL OR note = %s)",
                job_id, job_id, note, note,
            )
        )

    def close(self) -> None:
        self._connection.close()


class Process:
    """A child process of a test, its output in a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.log = Path(tempfile.mkstemp(prefix="child-", suffix=".log")[1])
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT_ROOT,
                env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT), **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: int) -> float:
        """Sends a signal and returns when, by time.monotonic()."""
        self._process.send_signal(number)
        return time.monotonic()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._process.wait()

    def exit_code(self, *, within: float = PATIENCE) -> int:
        """Waits for the end. Seconds in which the machine stood still, and this process with it, do not count."""
        waited = 0.0
        while self.running:
            assert waited < within, f"did not end within {within:g} s:\n{self.output[-3000:]}"
            before = time.monotonic()
            time.sleep(0.02)
            waited += min(time.monotonic() - before, 0.25)
        return self._process.wait()

    def end(self) -> None:
        """Whatever is left of it and its children goes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.log.unlink(missing_ok=True)


@contextmanager
def process(*command: str, **environment: str) -> Iterator[Process]:
    """Runs `python <command>` from the project's folder until the end of the block."""
    child = Process(command, environment)
    try:
        yield child
    except BaseException:
        print(f"--- {' '.join(command)}\n{child.output[-6000:]}")
        raise
    finally:
        child.end()


@contextmanager
def worker(*types: str, **environment: str) -> Iterator[Process]:
    """Runs `jobs worker`, with the sample processors."""
    chosen = [argument for name in types for argument in ("--types", name)]
    environment = {"JOB_QUEUE_MODULES": "tests.sample_processors", **environment}
    with process("-m", "deployments.cli", "worker", *chosen, **environment) as child:
        yield child


def ready(child: Process, rows: Rows) -> str:
    """Waits until a worker has its row in `workers`, and returns its id."""

    def row() -> str | None:
        assert child.running, child.output[-3000:]
        found = rows.all("SELECT worker_id FROM workers WHERE pid = %s AND stopped_at IS NULL", child.pid)
        return str(found[0]["worker_id"]) if found else None

    found = until(row, what="the worker's start")
    assert found is not None
    return found


@contextmanager
def occupied(port: int) -> Iterator[None]:
    """Another program holds this port of loopback (or had it already)."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A second run of the tests on this machine holds it too, and not only as long as the first one does.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with suppress(OSError):
            other.bind(("127.0.0.1", port))
            other.listen()
        yield
