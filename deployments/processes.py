"""Child processes of the local stack: started in a session of their own, logged to a file, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

#: A log is begun anew when it has grown over this.
LOG_LIMIT_BYTES = 10 << 20


class ChildError(RuntimeError):
    """A child process ended, or never came up; the message has the end of its log."""


class Child:
    """One process, its log in a file.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches only us, and we end the children in order.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process (again)."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        too_large = self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES
        with self.log.open("wb" if too_large else "ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                cwd=self._folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """None when it was never started."""
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs (or was never started)."""
        return self._process.poll() if self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raises ChildError when the process has ended."""
        if self.exit_code is not None:
            raise ChildError(f"{self.name} ended with exit code {self.exit_code}; {self.log} ends:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])

    def terminate(self) -> None:
        """SIGTERM, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, *, grace: float) -> int | None:
        """SIGTERM, and SIGKILL to its whole session after `grace` seconds; returns the exit code."""
        process = self._process
        if process is None:
            return None
        self.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        # What it started and left behind is in its session, and goes too.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def wait_until(ready: Callable[[], bool], *, child: Child | None, timeout: float, what: str) -> None:
    """Waits until `ready()` is true while the child lives (None: it is somebody else's).

    Raises:
        ChildError: when the child ends, or is not ready in time.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if child is not None:
            child.check()
        if time.monotonic() > deadline:
            end = f"; {child.log} ends:\n{child.tail()}" if child is not None else ""
            raise ChildError(f"{what} was not ready after {timeout:g} s{end}")
        time.sleep(0.2)
