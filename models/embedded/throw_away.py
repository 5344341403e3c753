"""The throw-away cluster of JOB_QUEUE_PERSISTENCE=false: one per process tree, without fsync, gone with its maker.

The process that makes it holds `owner.lock` in its folder for as long as it lives. A watchdog waits for that lock: it
gets it however the maker ends, then ends the server and deletes the folder. Should both be killed, the next process
that makes such a cluster finds the lock free and does the same.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from models.embedded import server
from models.embedded.server import (
    OWNER_LOCK_NAME,
    PREFIX,
    EmbeddedPostgresError,
    discard,
    require_unix,
    try_lock,
)
from models.embedded.sharing import EmbeddedPostgres, mutex

with suppress(ImportError):  # Windows; `require_unix` says so
    import fcntl

#: Tells the children of the process that made the cluster where it is.
EPHEMERAL_DIR_VARIABLE = "JOB_QUEUE_EPHEMERAL_DIR"
EPHEMERAL_PREFIX = f"{PREFIX}ephemeral-"


class ThrowAwayPostgres(EmbeddedPostgres):
    """The cluster of a process tree: made by its first process, used by the others, gone with the first."""

    def __init__(self) -> None:
        """Makes its folder, or finds the one that a parent made.

        Raises:
            EmbeddedPostgresError: when there can be no such folder, or no watchdog.
        """
        require_unix()
        with mutex:
            self._owner_lock: int | None = None
            self._watchdog: subprocess.Popen[bytes] | None = None
            inherited = os.environ.get(EPHEMERAL_DIR_VARIABLE)
            try:
                if not inherited:
                    _discard_abandoned()
                super().__init__(Path(inherited or tempfile.mkdtemp(prefix=EPHEMERAL_PREFIX)), durable=False)
                if not inherited:
                    self._own()
            except OSError as error:
                raise EmbeddedPostgresError(
                    f"expected to make a throw-away PostgreSQL cluster in {tempfile.gettempdir()}, got {error}: "
                    "set TMPDIR to a folder that this process can write to"
                ) from error

    def stop(self) -> None:
        """Leaves it; in the process that made it, ends and deletes it, whoever still uses it."""
        with mutex:
            if self._owner_lock is None:
                super().stop()
                return
            atexit.unregister(self.stop)
            self._forget()
            discard(self.data_dir)
            if os.environ.get(EPHEMERAL_DIR_VARIABLE) == str(self.data_dir):
                del os.environ[EPHEMERAL_DIR_VARIABLE]
            os.close(self._owner_lock)
            self._owner_lock = None
            if self._watchdog is not None:
                self._watchdog.wait()  # it sees that the folder is gone, and ends

    def _own(self) -> None:
        # Locked before it has the name by which others would find it unlocked, and take its owner for dead.
        new = self.data_dir / f"{OWNER_LOCK_NAME}.new"
        new.touch()
        self._owner_lock = try_lock(new, fcntl.LOCK_EX)
        new.rename(self.data_dir / OWNER_LOCK_NAME)
        atexit.register(self.stop)
        self._watchdog = subprocess.Popen(
            # Isolated and without site-packages: 9 MB, and nothing in `models` can stand in for the standard library.
            [sys.executable, "-I", "-S", server.__file__, str(self.data_dir)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.environ[EPHEMERAL_DIR_VARIABLE] = str(self.data_dir)

    def _make_folder(self) -> None:
        if not self.data_dir.is_dir():
            raise EmbeddedPostgresError(
                f"expected the throw-away PostgreSQL of this process tree in {self.data_dir}, it has ended with the "
                f"process that made it: end this one too, or unset {EPHEMERAL_DIR_VARIABLE} to get a new one"
            )

    def _forget_after_fork(self) -> None:
        super()._forget_after_fork()
        if self._owner_lock is not None:
            os.close(self._owner_lock)
        if self._watchdog is not None:
            self._watchdog.returncode = 0  # the parent's to wait for
        self._owner_lock = self._watchdog = None


def _discard_abandoned() -> None:
    """Deletes throw-away clusters of ours whose maker and watchdog were both killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{EPHEMERAL_PREFIX}*"):
        with suppress(OSError):  # just being deleted, or somebody else's
            if folder.lstat().st_uid == os.geteuid():
                owner_lock = try_lock(folder / OWNER_LOCK_NAME, fcntl.LOCK_EX)
                if owner_lock is not None:
                    discard(folder)
                    os.close(owner_lock)
