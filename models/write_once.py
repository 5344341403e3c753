"""Writing a file that nobody ever sees half-written, and that only the first of several writers makes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_once(path: Path, content: bytes, *, durable: bool = False) -> bool:
    """Makes the file, readable by its owner only, unless it is there already; makes the folder above it too.

    A writer that is killed leaves at most a file that begins with a dot and ends in `.tmp`.

    Args:
        durable: wait until the content is on the disk, so that it survives a power cut.

    Returns:
        Whether this call made the file; False when it was there already, which is left as it is.

    Raises:
        OSError: when the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        return _publish(Path(written), path)
    finally:
        Path(written).unlink(missing_ok=True)


def _publish(written: Path, path: Path) -> bool:
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: two writers at the same moment then both believe they were first, and one
        # file is there all the same.
        if path.exists():
            return False
        os.replace(written, path)
    return True
