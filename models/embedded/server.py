"""The server of an embedded PostgreSQL cluster as it is found: does it live, who holds what, where is it; and its end.

Everything is known by `flock` on what is there anyway; no lock file can be deleted or belong to the wrong user:
  `<data folder>`             held by who starts or stops, one at a time, and by an `initdb` that outlived its starter;
  `<data folder>/postgres`    inherited by every process of the server: when it is free none of them lives, whatever
                              `postmaster.pid` says and whoever has that pid by now.
`embedded.py` adds the third, on `PG_VERSION`, held by the server's users.

Only the standard library is imported: `python server.py FOLDER` is the watchdog of a throw-away cluster.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

with suppress(ImportError):  # Windows has neither; `require_unix` says so
    import fcntl
    import pwd

#: A fast shutdown writes at most shared_buffers (128 MB) to disk. After this it becomes an immediate one.
STOP_SECONDS = 30.0
#: An immediate shutdown gives its processes 5 s before it kills them.
STOP_AT_ONCE_SECONDS = 10.0
#: How often a lock or a starting server is looked at again.
LOOK_AGAIN_SECONDS = 0.02
#: Not the system's temporary folder: every process must find the same socket whatever its TMPDIR, in 107 bytes.
SOCKET_ROOT = Path("/tmp")
PREFIX = "dirtfree-jobs-"
#: In the server's folder.
LOG_NAME = "server.log"
#: In a throw-away cluster's folder, held by the process that made it.
OWNER_LOCK_NAME = "owner.lock"


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message says what was expected, what came and what to do."""


def require_unix() -> None:
    """Refuses Windows, when the embedded PostgreSQL is asked for and not before."""
    if sys.platform == "win32":
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL needs Unix file locks, this is Windows: set DATABASE_URL, or work in WSL"
        )


def name_of(uid: int) -> str:
    """A user as messages show it."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def try_lock(path: Path, operation: int) -> int | None:
    """Opens a file or folder and locks it: the descriptor, closing which lets go; None when somebody else holds it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def lock_folder(folder: Path, seconds: float) -> int | None:
    """Locks a folder, for which it waits up to so many seconds: the descriptor, or None when they are over."""
    deadline = time.monotonic() + seconds
    while True:
        descriptor = try_lock(folder, fcntl.LOCK_EX)
        if descriptor is not None:
            if still_at(descriptor, folder):
                return descriptor
            os.close(descriptor)  # deleted and made again while we waited: a lock that nobody else sees
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_AGAIN_SECONDS)


def still_at(descriptor: int, path: Path) -> bool:
    """Whether that path still leads to the file or folder that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


class Server:
    """The server of the cluster in `data_dir / "postgres"`, which need neither run nor exist."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.cluster = data_dir / "postgres"
        #: There from the moment on that there is a cluster.
        self.version_file = self.cluster / "PG_VERSION"

    @property
    def socket_dir(self) -> Path:
        """The folder of its socket, named for the user and the identity of the cluster's folder.

        The folder's inode and not its path: that stays when the folder is moved, and a new cluster in the place of a
        deleted one never meets the old server, which keeps its inode from being used again for as long as it lives.
        """
        found = os.stat(self.cluster)
        identity = hashlib.sha256(f"{found.st_dev}:{found.st_ino}".encode()).hexdigest()[:16]
        return SOCKET_ROOT / f"{PREFIX}{found.st_uid}-{identity}"

    def check_socket_dir(self) -> Path:
        """The folder of its socket, safe to use though not necessarily there.

        Raises:
            EmbeddedPostgresError: when it is another user's or open to others, who could run their own server in it.
        """
        path, owner = self.socket_dir, os.stat(self.cluster).st_uid
        with suppress(FileNotFoundError):
            found = os.lstat(path)
            # Root makes it before giving it away, and may have been killed in between.
            owners = {owner, 0} if os.geteuid() == 0 else {owner}
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
                raise EmbeddedPostgresError(
                    f"expected {path}, where PostgreSQL's socket belongs, to be a folder of {name_of(owner)} with mode "
                    f"drwx------; it belongs to {name_of(found.st_uid)} with mode {stat.filemode(found.st_mode)}: find "
                    "out who made it, then remove it"
                )
        return path

    def postmaster(self) -> int | None:
        """The pid in `postmaster.pid`, if that is a live postmaster of this cluster by its command line."""
        pid = next(iter(self.pid_file()), "")
        return int(pid) if pid.isdigit() and f"cluster_name={self.socket_dir.name}" in _command_line(pid) else None

    def pid_file(self) -> list[str]:
        """The lines of `postmaster.pid` (pid, folder, start time, port, folder of the socket, ...); none without it."""
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def end(self, how: signal.Signals = signal.SIGINT) -> bool:
        """Stops the server (SIGINT: fast; SIGQUIT: at once) and removes the folder of its socket.

        Returns:
            Whether it is gone; False when some process of it is still there after all patience.
        """
        for signal_, seconds in ((how, STOP_SECONDS), (signal.SIGQUIT, STOP_AT_ONCE_SECONDS)):
            postmaster = self.postmaster()
            if postmaster is not None:
                with suppress(ProcessLookupError):
                    os.kill(postmaster, signal_)
            deadline = time.monotonic() + seconds
            while (server_lock := try_lock(self.cluster, fcntl.LOCK_EX)) is None and time.monotonic() < deadline:
                if self.postmaster() is None:
                    self.end_orphans()
                time.sleep(LOOK_AGAIN_SECONDS)
            if server_lock is not None:
                shutil.rmtree(self.check_socket_dir(), ignore_errors=True)
                os.close(server_lock)
                return True
        return False

    def end_orphans(self) -> None:
        """Ends what a dead postmaster left, as it would have; `cluster_name` is in the titles of its processes."""
        processes = {process.name: _command_line(process.name) for process in Path("/proc").glob("[0-9]*")}
        if any(f"cluster_name={self.socket_dir.name}" in line for line in processes.values()):
            return  # their postmaster lives, in a container that counts pids from 1
        for pid, line in processes.items():
            if line.startswith(f"postgres: {self.socket_dir.name}: "):
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGQUIT)

    def log_tail(self) -> str:
        """The last lines of its log, for an error message."""
        path = self.cluster / LOG_NAME
        try:
            lines = path.read_text(errors="replace").splitlines()[-15:]
        except FileNotFoundError:
            return f"It wrote no log ({path})."
        return "\n  ".join([f"The end of its log ({path}):", *lines])


def discard(data_dir: Path) -> None:
    """Ends the server of a throw-away cluster and deletes its folder, whoever uses it."""
    with suppress(FileNotFoundError):
        start_lock = lock_folder(data_dir, STOP_SECONDS)  # who starts it at this moment, or its initdb, comes first
        server = Server(data_dir)
        if server.version_file.exists():
            server.end(signal.SIGQUIT)
        shutil.rmtree(data_dir, ignore_errors=True)
        if start_lock is not None:
            os.close(start_lock)


def _command_line(pid: str) -> str:
    # Readable for everybody, unlike /proc/<pid>/cwd, which root in a container may not follow.
    try:
        return Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    return subprocess.run(["ps", "-o", "command=", "-p", pid], capture_output=True, text=True).stdout


def _watch(data_dir: Path) -> None:
    # The kernel lets go of the maker's lock however it dies. Is the folder gone, then it has ended as it should.
    with suppress(FileNotFoundError):
        owner_lock = os.open(data_dir / OWNER_LOCK_NAME, os.O_RDONLY)
        fcntl.flock(owner_lock, fcntl.LOCK_EX)
        discard(data_dir)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
