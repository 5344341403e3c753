"""Where reports are: a folder each, complete or not there, whoever is killed or writes the same one meanwhile.

A report is built in a hidden folder beside its place and moved there in one step. Whoever builds holds a lock on the
hidden folder; one that nobody holds belonged to a worker that was killed, and the next run removes it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from models.settings import settings
from tasks.errors import PermanentError

#: A folder's name: nothing that a path, a shell or a URL could read as anything else.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MANIFEST = "report.json"
_MADE_BY = "dirtfree-jobs"
_BUILDING, _REMOVING = ".building-", ".removing-"
#: No retry mends these: somebody has to change the setting or the folder.
_FOR_GOOD = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}


class Building:
    """A report that is being written; `add` its files, the manifest comes by itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sizes: dict[str, int] = {}

    def add(self, file_name: str, content: bytes) -> None:
        """Writes a file, and waits until it is on the disk."""
        with (self._folder / file_name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.sizes[file_name] = len(content)


def report_root() -> Path:
    """The folder of all reports; it may not be there before the first."""
    return settings().report_dir or settings().data_dir / "reports"


@contextmanager
def replacing(name: str, facts: dict[str, Any]) -> Iterator[Building]:
    """Builds the report `name`; at the end of the block it is in its place, instead of the one that was there before.

    On any error, and when the process is killed, what was there before stays.

    Args:
        facts: what the manifest says of it: `made_at`, `job_id`, ...

    Raises:
        PermanentError: when the name cannot be a report's folder, or the folder of reports cannot be written.
        OSError: when the disk is full or broken.
    """
    try:
        place = _place(name)
        sweep()
        with _locked_folder(place.parent, f"{_BUILDING}{name}-") as folder:
            building = Building(folder)
            yield building
            manifest = {"made_by": _MADE_BY, "name": name, **facts, "files": dict(building.sizes)}
            building.add(MANIFEST, json.dumps(manifest, indent=2).encode())
            _sync_folder(folder)
            _move(folder, place)
            _sync_folder(place.parent)
    except OSError as error:
        if error.errno in _FOR_GOOD:
            raise PermanentError(
                f"the reports' folder {report_root()} cannot be written ({error.strerror}): mend it, or set REPORT_DIR"
            ) from None
        raise


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """What a report says of itself; None for anything that is not a complete report of ours, a link above all."""
    if not NAME.fullmatch(folder.name) or folder.is_symlink():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        entries = {entry.name: entry.is_file(follow_symlinks=False) for entry in os.scandir(folder)}
        expected = {MANIFEST, *manifest["files"]}
        ours = manifest["made_by"] == _MADE_BY and manifest["name"] == folder.name
        made_at = datetime.fromisoformat(manifest["made_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = entries.keys() == expected and all(entries.values()) and made_at.tzinfo is not None
    return manifest if ours and whole else None


def reports() -> list[dict[str, Any]]:
    """The manifests of all reports, the newest first."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [manifest for folder in report_root().iterdir() if (manifest := manifest_of(folder)) is not None]
        return sorted(found, key=lambda manifest: datetime.fromisoformat(manifest["made_at"]), reverse=True)
    return []


def prune(now: datetime, *, keep: int | None = None, days: int | None = None, but: str | None = None) -> list[str]:
    """Removes old reports, and returns their names; never a folder that is not a report of ours.

    Args:
        now: the database's clock.
        keep: how many stay; None: REPORTS_KEPT.
        days: how long they stay; None: REPORT_DAYS_KEPT.
        but: one that stays in any case.
    """
    keep = settings().reports_kept if keep is None else keep
    oldest = now - timedelta(days=settings().report_days_kept if days is None else days)
    removed = []
    for place, manifest in enumerate(reports()):
        too_old = datetime.fromisoformat(manifest["made_at"]) < oldest
        if (place >= keep or too_old) and manifest["name"] != but:
            # Out of sight first: nobody sees half a report while its files go.
            hidden = Path(tempfile.mkdtemp(prefix=_REMOVING, dir=report_root()))
            with suppress(FileNotFoundError):  # another worker was faster
                os.rename(report_root() / manifest["name"], hidden)
                removed.append(manifest["name"])
            shutil.rmtree(hidden, ignore_errors=True)
    return removed


def sweep() -> None:
    """Removes what workers that were killed have left."""
    for prefix in (_BUILDING, _REMOVING):
        for folder in report_root().glob(f"{prefix}*"):
            lock = _try_lock(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _place(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise PermanentError(f"name: expected small letters, digits, - and _, 64 at most, got {name!r:.100}")
    root = report_root()
    root.mkdir(parents=True, exist_ok=True)
    place = root.resolve() / name
    if place.is_symlink() or place.resolve().parent != root.resolve():
        raise PermanentError(f"name: {name!r} is a link in {root}, and a report is only written into {root} itself")
    if place.exists() and manifest_of(place) is None:
        raise PermanentError(f"name: {name!r} is in {root} and is no report of ours: take another name, or remove it")
    return place


@contextmanager
def _locked_folder(parent: Path, prefix: str) -> Iterator[Path]:
    lock = None
    while lock is None:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Before it is locked, somebody's sweep may find it without an owner; then another one.
        lock = _try_lock(folder)
    try:
        yield folder
    finally:
        # Moved, and not there any more; or what it was exchanged with; or not finished.
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _try_lock(folder: Path) -> int | None:
    """Takes the folder's lock, which is free the moment its holder dies; None when somebody has it, or it is gone.

    Returns:
        The descriptor that holds it until it is closed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except OSError:
        pass  # held, or removed meanwhile
    os.close(descriptor)
    return None


def _move(folder: Path, place: Path) -> None:
    """Moves the folder to its place; what is there already takes the folder's name in the same step."""
    try:
        os.rename(folder, place)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        if not _exchange(folder, place):
            # A system that cannot do it in one step: for a moment neither is there.
            before = Path(tempfile.mkdtemp(prefix=_REMOVING, dir=place.parent))
            os.rename(place, before)
            os.rename(folder, place)
            shutil.rmtree(before, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step; False where the system has no such call (Linux has, since 3.15)."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
