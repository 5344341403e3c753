"""The dashboard as a child of the local stack, on port 8501 or the next best."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

import httpx

from deployments.ports import LOOPBACK, free_port
from deployments.prefect_server import log_folder
from deployments.processes import Child, wait_until
from models.settings import PROJECT_ROOT, Settings, settings

USUAL_PORT = 8501
#: Python, pandas and Streamlit from a cold disk.
START_TIMEOUT_SECONDS = 120.0
#: Open pages need no longer goodbye: their browsers come back by themselves.
STOP_SECONDS = 5.0


class DashboardServer:
    """The dashboard with the HTTP API; its port is chosen at once, so that others can be told before it runs."""

    def __init__(self, prefect_environment: Mapping[str, str], prefect_ui_url: str) -> None:
        self.port = free_port(USUAL_PORT)
        self.child = Child(
            "dashboard",
            [
                *_after_the_jobs(),
                sys.executable, "-m", "streamlit", "run", str(PROJECT_ROOT / "dashboard" / "app.py"),
                "--server.address", LOOPBACK, "--server.port", str(self.port),
            ],
            log=log_folder() / "dashboard.log",
            environment={**prefect_environment, "PREFECT_UI_URL": prefect_ui_url, **self.environment},
            folder=PROJECT_ROOT,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def api_docs_url(self) -> str:
        return f"{self.url}/api/docs"

    @property
    def environment(self) -> dict[str, str]:
        """What all children need to find the same database and to make links that lead here."""
        found = settings()
        environment = {"JOB_QUEUE_DATA_DIR": str(found.data_dir), "PYTHONPATH": _python_path()}
        if found.database_url is not None:
            environment["DATABASE_URL"] = found.database_url.get_secret_value()
        if found.public_url == Settings.model_fields["public_url"].default:
            environment["PUBLIC_URL"] = self.url
        return environment

    def wait(self) -> None:
        """Waits until it answers.

        Raises:
            ChildError: when it does not come up.
        """
        wait_until(self.healthy, child=self.child, timeout=START_TIMEOUT_SECONDS, what="the dashboard")

    def healthy(self) -> bool:
        """Whether its pages can be opened."""
        try:
            return httpx.get(f"http://{LOOPBACK}:{self.port}/_stcore/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def _after_the_jobs() -> list[str]:
    """Where the workers want all cores, they get them first: a page may take a moment longer."""
    nice = shutil.which("nice")
    return [nice, "-n", "10"] if nice else []


def _python_path() -> str:
    """This project first: `streamlit run` puts the script's own folder there, not the project's."""
    return os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]))
