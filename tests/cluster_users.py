"""Users of an embedded PostgreSQL: a `User` is a process of its own that joins and leaves on demand.

Each test has a folder of its own and ends only what it started; afterwards no process of a server and no folder may be
left, which is checked every time.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psutil
import psycopg
import pytest

from models.embedded import EmbeddedPostgres
from models.embedded.server import Server

MODELS = Path(__file__).resolve().parents[1] / "models"
THROW_AWAY = "throw-away"

# Answers each command, a line, with a line; the end of its input is its normal exit. `models` is entered without what
# models/__init__ imports, which takes 0.9 s, and all is imported before root becomes somebody who may not read it.
PROCESS = """
import os, signal, subprocess, sys, threading, time, types
from pathlib import Path
package = types.ModuleType("models")
package.__path__ = [sys.argv[1]]
sys.modules["models"] = package
import psycopg
import models.embedded.binaries, models.embedded.throw_away
from models.embedded import EmbeddedPostgres, EmbeddedPostgresError, ThrowAwayPostgres

place, uid, copies = sys.argv[2], int(sys.argv[3]), sys.argv[4]
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
if copies:
    models.embedded.binaries.SHARED_BINARIES = Path(copies)

def answer(command):
    match command.split():
        case ["start"]:
            return cluster.start()
        case ["stop"]:
            return cluster.stop()
        case ["cycle", times]:
            for _ in range(int(times)):
                with cluster:
                    query("SELECT 1")
            return times
        case ["fork"]:
            if (pid := os.fork()) == 0:
                os.closerange(0, 3)
                time.sleep(600)
            return pid
        case ["spawn"]:
            null = subprocess.DEVNULL
            return subprocess.Popen(["sleep", "600"], stdin=null, stdout=null, stderr=null, close_fds=False).pid
        case ["die-when-there-is", pattern]:
            return threading.Thread(target=die_when_there_is, args=(pattern,), daemon=True).start()
        case ["folder"]:
            return cluster.data_dir
        case ["watchdog"]:
            return cluster._watchdog.pid
    return query(command)

def die_when_there_is(pattern):
    while not any(Path(place).glob(pattern)):
        time.sleep(0.001)
    os.killpg(0, signal.SIGKILL)

def query(sql):
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        found = connection.execute(sql)
        return found.fetchone()[0] if found.description else found.statusmessage

cluster = ThrowAwayPostgres() if place == "throw-away" else EmbeddedPostgres(Path(place))
print("ok", flush=True)
for line in sys.stdin:
    try:
        print("ok", answer(line.strip()), flush=True)
    except EmbeddedPostgresError as error:
        print("refused", " ".join(str(error).split()), flush=True)
"""


class Refused(Exception):
    """The process got an EmbeddedPostgresError."""


class User:
    """A process that uses the cluster in a folder, or a throw-away one; called with a command it returns the answer."""

    def __init__(
        self, place: Path | str, *, uid: int | None = None, copies: str = "", environment: dict[str, str] | None = None
    ) -> None:
        uid = os.geteuid() if uid is None else uid
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(MODELS), str(place), str(uid), copies],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._commands, self._answers = self.process.stdin, self.process.stdout
        self._is_ready = False

    def __call__(self, command: str) -> str:
        self.send(command)
        return self.receive()

    def send(self, command: str) -> None:
        self.ready()
        self._commands.write(f"{command}\n")
        self._commands.flush()

    def receive(self) -> str:
        kind, _, rest = self._answers.readline().rstrip("\n").partition(" ")
        if kind == "refused":
            raise Refused(rest)
        assert kind == "ok", "it ended; its traceback is above"
        return rest

    def has_answered(self) -> bool:
        return bool(select.select([self._answers], [], [], 0)[0])

    def ready(self) -> None:
        """Waits until it has imported what it needs."""
        if not self._is_ready:
            self.receive()
            self._is_ready = True

    def leave(self) -> None:
        """Lets it come to its normal exit."""
        self._commands.close()
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        """SIGKILL, for it and its process group, as a closed terminal or a supervisor would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._commands.close()
        self._answers.close()


class Join(Protocol):
    def __call__(
        self,
        place: Path | str | None = None,
        *,
        uid: int | None = None,
        copies: str = "",
        environment: dict[str, str] | None = None,
    ) -> User: ...


@pytest.fixture
def cluster_root() -> Iterator[Path]:
    """A folder whose clusters are ended and deleted with it."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    servers = [Server(path.parents[1]) for path in folder.rglob("PG_VERSION") if path.parent.name == "postgres"]
    names = [server.socket_dir.name for server in servers]
    for server in servers:
        assert server.end(signal.SIGQUIT)
    shutil.rmtree(folder)
    eventually(lambda: not any(processes(name) for name in names))
    assert not any(Path("/tmp", name).exists() for name in names)


@pytest.fixture
def data_dir(cluster_root: Path) -> Path:
    """A data folder that is not there yet."""
    return cluster_root / "data"


@pytest.fixture(scope="module")
def cluster_template() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="embedded-test-", dir="/tmp"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def used_dir(data_dir: Path, cluster_template: Path) -> Path:
    """The data folder with a cluster in it; a copy, which is made in a fifth of initdb's time."""
    subprocess.run(["cp", "-a", cluster_template, data_dir], check=True)
    return data_dir


@pytest.fixture
def join(data_dir: Path) -> Iterator[Join]:
    """Starts a process that will use the cluster in `data_dir`, or another one."""
    started: list[User] = []

    def start(
        place: Path | str | None = None,
        *,
        uid: int | None = None,
        copies: str = "",
        environment: dict[str, str] | None = None,
    ) -> User:
        started.append(User(place or data_dir, uid=uid, copies=copies, environment=environment))
        return started[-1]

    yield start
    for user in started:
        user.close()


def processes(text: str) -> list[int]:
    """The live processes with that text in their command line or title."""
    found = psutil.process_iter(["pid", "cmdline", "status"])
    return [
        process.pid
        for process in found
        if process.info["status"] != psutil.STATUS_ZOMBIE and text in " ".join(process.info["cmdline"] or [])
    ]


def postmaster(data_dir: Path) -> int:
    pid = Server(data_dir).postmaster()
    assert pid is not None, "expected a running server"
    return pid


def is_stopped(data_dir: Path) -> bool:
    server = Server(data_dir)
    return not processes(server.socket_dir.name) and not server.socket_dir.exists()


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.02)


def query(url: str, sql: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(sql.encode())
        row = found.fetchone() if found.description else None
        return row[0] if row else None
