"""`make up`: everything comes up, stays up, and goes down in order."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import yaml

from deployments.dashboard_server import USUAL_PORT as DASHBOARDS_PORT
from deployments.ports import is_free
from deployments.prefect_server import USUAL_PORT
from models.settings import PROJECT_ROOT
from tests.running import Process, Rows, occupied, process, until


def _descendants(child: Process) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def _part(child: Process, *words: str) -> psutil.Process | None:
    """The one of its processes that has these words on its command line."""
    for process_ in _descendants(child):
        # One that has just died has no command line any more.
        with suppress(psutil.Error):
            if set(words) <= set(process_.cmdline()):
                return process_
    return None


def _worker(child: Process) -> psutil.Process | None:
    return _part(child, "deployments.cli", "worker")


def _dashboard(child: Process) -> psutil.Process | None:
    return _part(child, "streamlit", "run")


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=30).status_code == 200
    return False


def _line(child: Process, name: str) -> str:
    """The link that was printed behind this name."""
    found = re.search(rf"^{name} +(http\S+)$", child.output, re.MULTILINE)
    assert found, child.output
    return found[1]


def _get(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(url, json=body, timeout=60).json()
    return found


def _runs(process_: psutil.Process) -> bool:
    # One that nobody has asked for its exit code is a zombie for a moment.
    with suppress(psutil.NoSuchProcess):
        return process_.is_running() and process_.status() != psutil.STATUS_ZOMBIE
    return False


def test_the_stack_comes_up_replaces_what_dies_and_goes_down_in_order(database: str, tmp_path: Path) -> None:
    rows = Rows(database)
    up = process("-m", "deployments.cli", "up", JOB_QUEUE_DATA_DIR=str(tmp_path / "data"))
    with occupied(USUAL_PORT), occupied(DASHBOARDS_PORT), up as child:
        until(lambda: "Ctrl-C stops everything" in child.output or not child.running, seconds=400, what="the stack")
        assert child.running, child.output
        assert f"port {USUAL_PORT} is taken; using" in child.output
        api = child.output.split("export PREFECT_API_URL=")[1].split()[0]
        deployments = _get(f"{api}/deployments/filter", {})
        declared = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
        assert sorted(each["name"] for each in deployments) == sorted(each["name"] for each in declared)

        def completed(job_id: str) -> bool:
            return bool(rows.job(job_id)["status"] == "completed")

        sql = """INSERT INTO background_jobs (job_type, payload)
            VALUES ('cleanup_old_data', '{"days": 30}') RETURNING id"""
        first = rows.one(sql)
        until(lambda: completed(first), what="the job")

        victim = until(lambda: _worker(child), what="the worker")
        victim.kill()
        until(lambda: (found := _worker(child)) is not None and found.pid != victim.pid, what="another worker")
        second = rows.one(sql)
        until(lambda: completed(second), what="the job after the worker was replaced")

        dashboard = _line(child, "Dashboard")
        assert f"port {DASHBOARDS_PORT} is taken; the dashboard uses {dashboard.rpartition(':')[2]}" in child.output
        for url in (dashboard, _line(child, "API"), _line(child, "Prefect UI"), f"{dashboard}/_stcore/health"):
            assert _answers(url), url
        assert httpx.get(f"{dashboard}/api/nothing", timeout=30).json()["status"] == 404
        looked_at = until(lambda: _dashboard(child), what="the dashboard")
        looked_at.kill()
        until(lambda: (found := _dashboard(child)) is not None and found.pid != looked_at.pid, what="another dashboard")
        until(lambda: _answers(f"{dashboard}/_stcore/health"), what="the dashboard after it was replaced")

        left = _descendants(child)
        child.send(signal.SIGINT)
        assert child.exit_code(within=90) == 0, child.output
        assert child.output.rstrip().endswith("stopped")
        # What the children had started gets SIGKILL at the end, and is gone a moment later.
        until(lambda: not any(map(_runs, left)), seconds=10, what="the end of all processes")
        for url in (dashboard, api):
            assert is_free(int(urlsplit(url).port or 0)), url
    rows.close()
