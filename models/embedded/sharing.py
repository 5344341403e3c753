"""The embedded PostgreSQL: one cluster in a data folder, shared by every process of the project, stopped by the last.

Whoever uses the server holds the cluster's `PG_VERSION` file locked, shared. Who leaves tries to lock it alone: is that
granted, nobody else is left and the server is stopped. Joining and leaving happen under the lock of the data folder,
one at a time, so that nobody joins a server that is being stopped. Locks are the kernel's: a user that was killed holds
none, and the next to leave stops the server for it.

What else is locked: `server.py`. How it is made and launched, as whom when root does it, and the settings:
`binaries.py`. JOB_QUEUE_PERSISTENCE=false: `throw_away.py`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import pq

from models.embedded.binaries import Binaries, choose_account
from models.embedded.server import (
    LOOK_AGAIN_SECONDS,
    STOP_SECONDS,
    EmbeddedPostgresError,
    Server,
    lock_folder,
    require_unix,
    still_at,
    try_lock,
)

with suppress(ImportError):  # Windows; `require_unix` says so
    import fcntl

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

DATABASE = "jobs"
#: Crash recovery replays at most max_wal_size (1 GB), some 20 s on a slow disk; three times that.
START_SECONDS = 60.0
#: Another process may be in its own start, or stop, before ours.
TURN_SECONDS = START_SECONDS + STOP_SECONDS
#: The backends of a dead postmaster end when they next wait for something; those busy for longer are ended.
ORPHAN_GRACE_SECONDS = 1.0
#: A server that accepts a connection and then says nothing for so long does not answer.
ANSWER_SECONDS = 5

#: One for all instances, and held around every fork: so the child finds it free, and no lock half taken.
mutex = threading.RLock()
_instances: weakref.WeakSet[EmbeddedPostgres] = weakref.WeakSet()


class EmbeddedPostgres:
    """One PostgreSQL cluster in a data folder, shared by every process of the project, stopped with its last user.

    Also a context manager. After a fork the child is not a user: it calls `start` itself.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        """Names the folder; nothing happens before `start`.

        Args:
            data_dir: The cluster is in its folder `postgres`; made when it does not exist.
            durable: False trades the data's safety in a crash of the machine for speed. Whoever launches the server
                decides; who joins takes it as it is.
        """
        self.data_dir = Path(os.path.realpath(data_dir))
        self._durable = durable
        self._server = Server(self.data_dir)
        self._user_lock: int | None = None
        self._url: str | None = None
        _instances.add(self)

    @property
    def url(self) -> str:
        """The libpq URL of the database `jobs`.

        Raises:
            EmbeddedPostgresError: before `start` and after `stop`.
        """
        if self._url is None:
            raise EmbeddedPostgresError(f"expected the PostgreSQL in {self.data_dir} to be started: call start() first")
        return self._url

    def start(self) -> str:
        """Joins the running server, or creates the cluster and launches its server, whatever is needed.

        May be called again, from any thread: it returns at once while the server answers, and brings it up again when
        it does not.

        Returns:
            A postgresql:// URL, over a Unix socket, of the database `jobs`.

        Raises:
            EmbeddedPostgresError: when the folder is somebody else's, when PostgreSQL cannot be started or takes more
                than 60 s to recover.
        """
        require_unix()
        with mutex:
            try:
                if self._url is not None and self._is_ours() and self._answers():
                    return self._url
                self._make_folder()
                choose_account(self._server)  # a foreign folder is refused before it is even opened
                start_lock = self._take_turn()
                try:
                    self._join(start_lock)
                finally:
                    os.close(start_lock)
            except OSError as error:
                raise EmbeddedPostgresError(
                    f"expected to be able to keep a PostgreSQL cluster in {self.data_dir}, got {error}: change the "
                    "folder's permissions, or set JOB_QUEUE_DATA_DIR to another one"
                ) from error
            return self.url

    def stop(self) -> None:
        """Leaves the server, and stops it when nobody else uses it. Does nothing when not started; runs at exit.

        Raises:
            EmbeddedPostgresError: when processes of the server are left after 40 s.
        """
        with mutex:
            atexit.unregister(self.stop)
            if self._user_lock is None:
                return
            start_lock, gone = None, True
            try:
                # A cluster that was deleted ends by itself. Without our turn somebody is joining, who will be the last.
                if self._is_ours() and (start_lock := lock_folder(self.data_dir, TURN_SECONDS)) is not None:
                    with suppress(BlockingIOError):
                        fcntl.flock(self._user_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        gone = self._server.end()
            finally:
                self._forget()
                if start_lock is not None:
                    os.close(start_lock)
            if not gone:
                raise EmbeddedPostgresError(
                    f"expected the PostgreSQL in {self.data_dir} to stop, some of its processes are still there: look "
                    f"for {self._server.socket_dir.name} in `ps ax`. {self._server.log_tail()}"
                )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_folder(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def _is_ours(self) -> bool:
        """Whether we are a user of the cluster that is in the folder now; it may have been deleted, and made again."""
        return self._user_lock is not None and still_at(self._user_lock, self._server.version_file)

    def _take_turn(self) -> int:
        start_lock = lock_folder(self.data_dir, TURN_SECONDS)
        if start_lock is None:
            raise EmbeddedPostgresError(
                f"another process has been starting or stopping the PostgreSQL in {self.data_dir} for over "
                f"{TURN_SECONDS:.0f} s: find it with `lsof {self.data_dir}` and end it"
            )
        return start_lock

    def _join(self, start_lock: int) -> None:
        binaries = Binaries(choose_account(self._server))
        if not self._server.version_file.exists():
            binaries.create(self._server, start_lock, durable=self._durable)
        if not self._is_ours():
            self._forget()
            self._user_lock = try_lock(self._server.version_file, fcntl.LOCK_SH)
            assert self._user_lock is not None, "held alone only by who leaves, and not while we have our turn"
            atexit.register(self.stop)
        self._bring_up(binaries)
        self._url = self._url_of(DATABASE)
        self._create_database()

    def _bring_up(self, binaries: Binaries) -> None:
        began, launched = time.monotonic(), False
        while not self._answers():
            elapsed = time.monotonic() - began
            server_lock = try_lock(self._server.cluster, fcntl.LOCK_EX)
            if server_lock is not None:
                try:
                    if launched:
                        raise EmbeddedPostgresError(
                            f"expected the PostgreSQL in {self.data_dir} to start, it ended. {self._server.log_tail()}"
                        )
                    binaries.launch(self._server, server_lock, durable=self._durable)
                    launched = True
                finally:
                    os.close(server_lock)
            elif elapsed > START_SECONDS:
                raise EmbeddedPostgresError(
                    f"expected the PostgreSQL in {self.data_dir} to answer on its socket in {self._server.socket_dir} "
                    f"within {START_SECONDS:.0f} s; its processes live (in another container perhaps, or one that has "
                    f"its own /tmp) but it does not. {self._server.log_tail()}"
                )
            elif elapsed > ORPHAN_GRACE_SECONDS and self._server.postmaster() is None:
                self._server.end_orphans()
            time.sleep(LOOK_AGAIN_SECONDS)

    def _answers(self) -> bool:
        self._server.check_socket_dir()
        url = f"{self._url_of('postgres')}&connect_timeout={ANSWER_SECONDS}"
        # Says OK also when all connections are taken, and not while the server recovers or shuts down.
        return pq.PGconn.ping(url.encode()) == pq.Ping.OK

    def _url_of(self, database: str) -> str:
        # With the port, or PGPORT in somebody's environment would send them to another socket.
        return f"postgresql://postgres@/{database}?host={quote(str(self._server.socket_dir), safe='')}&port=5432"

    def _create_database(self) -> None:
        try:
            url = self._url_of("postgres")
            with psycopg.connect(url, autocommit=True, connect_timeout=ANSWER_SECONDS) as connection:
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.Error as error:
            raise EmbeddedPostgresError(
                f"the PostgreSQL in {self.data_dir} runs, but its database {DATABASE} cannot be had: {error}. "
                f"{self._server.log_tail()}"
            ) from error

    def _forget(self) -> None:
        if self._user_lock is not None:
            os.close(self._user_lock)
        self._user_lock = self._url = None

    def _forget_after_fork(self) -> None:
        """In the child: its copies of the locks would outlive the parent's."""
        self._forget()


def _in_forked_child() -> None:
    for instance in list(_instances):
        instance._forget_after_fork()
    mutex.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=mutex.acquire, after_in_parent=mutex.release, after_in_child=_in_forked_child)
