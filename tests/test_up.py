"""`make up`: everything comes up, stays up, and goes down in order."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from deployments.prefect_server import USUAL_PORT
from tests.running import Process, Rows, occupied, process, until


def _descendants(child: Process) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def _worker(child: Process) -> psutil.Process | None:
    for process_ in _descendants(child):
        # One that has just died has no command line any more.
        with suppress(psutil.Error):
            if process_.cmdline()[-2:] == ["deployments.cli", "worker"]:
                return process_
    return None


def _get(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.post(url, json=body, timeout=10).json()
    return found


def test_the_stack_comes_up_replaces_what_dies_and_goes_down_in_order(database: str, tmp_path: Path) -> None:
    rows = Rows(database)
    up = process("-m", "deployments.cli", "up", JOB_QUEUE_DATA_DIR=str(tmp_path / "data"))
    with occupied(USUAL_PORT), up as child:
        until(lambda: "Ctrl-C stops everything" in child.output or not child.running, seconds=240, what="the stack")
        assert child.running, child.output
        assert f"port {USUAL_PORT} is taken; using" in child.output
        api = child.output.split("export PREFECT_API_URL=")[1].split()[0]
        deployments = _get(f"{api}/deployments/filter", {})
        assert {deployment["name"] for deployment in deployments} == {"drain", "hourly", "half-hourly", "daily"}

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

        left = _descendants(child)
        child.send(signal.SIGINT)
        assert child.exit_code(within=90) == 0, child.output
        assert child.output.rstrip().endswith("stopped")
        assert not [process_ for process_ in left if process_.is_running()]
    rows.close()
