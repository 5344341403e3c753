"""A Prefect server for this machine: its state under the data folder, on port 4200 or the next best."""

from __future__ import annotations

import fcntl
import sys
import time
from io import TextIOWrapper
from pathlib import Path

import httpx

from deployments.ports import LOOPBACK, free_port
from deployments.prefect_settings import prefect_environment
from deployments.processes import Child, ChildError, wait_until
from models.settings import PROJECT_ROOT, settings

USUAL_PORT = 4200
#: The first start makes its database: 16-30 s on a small machine.
START_TIMEOUT_SECONDS = 180.0
STOP_SECONDS = 10.0


class PrefectServer:
    """The one Prefect server of a data folder; a second one that is asked for joins the first.

    `api_url` and `ui_url` are known after `begin`; the server answers after `wait`.
    """

    def __init__(self, *, usual_port: int = USUAL_PORT) -> None:
        self._home = settings().data_dir / "prefect"
        self._usual_port = usual_port
        self._lock: TextIOWrapper | None = None
        self._child: Child | None = None
        self.port = 0
        self.joined = False

    @property
    def ui_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.ui_url}/api"

    @property
    def environment(self) -> dict[str, str]:
        """What Prefect's clients need to find it, for this process or a child."""
        return {**prefect_environment(), "PREFECT_API_URL": self.api_url, "PREFECT_HOME": str(self._home)}

    def begin(self) -> None:
        """Starts the server without waiting for it, or finds the one that runs on this data folder already."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._lock = (self._home / "server.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.joined = True
            self.port = self._others_port()
            return
        self.port = free_port(self._usual_port)
        self._lock.truncate(0)
        self._lock.write(str(self.port))
        self._lock.flush()
        self._child = Child(
            "the Prefect server",
            [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(self.port)],
            log=settings().data_dir / "logs" / "prefect-server.log",
            environment={**self.environment, "PREFECT_UI_API_URL": self.api_url},
            folder=PROJECT_ROOT,
        )
        self._child.start()

    def _others_port(self) -> int:
        """The port that the holder of the lock writes down as soon as it has it."""
        assert self._lock is not None
        deadline = time.monotonic() + 5
        while True:
            self._lock.seek(0)
            written = self._lock.read()
            if written:
                return int(written)
            if time.monotonic() > deadline:
                raise ChildError(f"somebody holds {self._lock.name} and starts no Prefect server: end it")
            time.sleep(0.05)

    def wait(self) -> None:
        """Waits until it answers.

        Raises:
            ChildError: when it does not come up.
        """
        wait_until(self.healthy, child=self._child, timeout=START_TIMEOUT_SECONDS, what="the Prefect server")

    def healthy(self) -> bool:
        """Whether its API answers."""
        try:
            return httpx.get(f"{self.api_url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def child(self) -> Child | None:
        """The server's process, if it was started here."""
        return self._child

    def stop(self) -> None:
        """Stops the server if it was started here."""
        if self._child is not None:
            self._child.stop(grace=STOP_SECONDS)
            self._child = None
        if self._lock is not None:
            if not self.joined:
                self._lock.truncate(0)
            self._lock.close()
            self._lock = None


def log_folder() -> Path:
    """Where the stack's processes log."""
    return settings().data_dir / "logs"
