"""`jobs up`: the whole stack on this machine, in order, until Ctrl-C; then down again in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

import httpx

from deployments.dashboard_server import STOP_SECONDS, DashboardServer
from deployments.dashboard_server import USUAL_PORT as DASHBOARDS_PORT
from deployments.output import console
from deployments.prefect_server import USUAL_PORT, PrefectServer, log_folder
from deployments.processes import Child, ChildError, wait_until
from deployments.worker_command import drain_workers
from models import database
from models.settings import PROJECT_ROOT, settings

WORK_POOL = "process-pool"
WORKER, PREFECT_WORKER = "worker", "prefect-worker"
TURN_SECONDS = 0.5
#: A worker is there in 5 s, and in much more while a demo has the other cores.
START_SECONDS = 120.0
#: What died is started again after this long, so that a broken set-up does not spin.
RESTART_SECONDS = 3.0


def run_up() -> int:
    """Starts the stack, restarts what dies, and stops it on SIGINT or SIGTERM. Returns 0.

    Raises:
        KeyboardInterrupt: when it was stopped before all was up; what was started is stopped by then.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    _on_signals(signal.default_int_handler)
    server = PrefectServer()
    children: list[Child] = []
    try:
        console.print("database      ", end="")
        database.engine()
        console.print(_database_place(), highlight=False)
        console.print("Prefect       starting (the first time takes half a minute) ...", highlight=False)
        server.begin()
        _say_port(server)
        server.wait()
        _deploy(server)
        dashboard = DashboardServer(server.environment, server.ui_url)
        children = [dashboard.child, *_workers(server, dashboard)]
        for child in reversed(children):
            child.start()
        for child in children[1:]:
            wait_until(_ready[child.name](child, server), child=child, timeout=START_SECONDS, what=child.name)
        console.print(f"workers       ready: {settings().concurrency} batches at once", highlight=False)
        _say_dashboards_port(dashboard)
        dashboard.wait()
        _on_signals(note)
        console.print(_welcome(server, dashboard), highlight=False)
        _watch([*children, *([server.child] if server.child else [])], received)
    finally:
        _on_signals(note)  # a second Ctrl-C does not leave half of it running
        _down(server, children)
    return 0


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _database_place() -> str:
    if settings().database_url is not None:
        return "DATABASE_URL"
    return f"embedded PostgreSQL in {settings().data_dir / 'postgres'}"


def _say_port(server: PrefectServer) -> None:
    if server.joined:
        console.print(f"              this data folder has one already; using {server.api_url}", highlight=False)
    elif server.port != USUAL_PORT:
        console.print(
            f"              port {USUAL_PORT} is taken; using {server.port}. For Prefect's own commands:\n"
            f"              export PREFECT_API_URL={server.api_url}",
            highlight=False,
        )


def _deploy(server: PrefectServer) -> None:
    for arguments in (
        ("work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"),
        ("deploy", "--all", "--no-prompt"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            env={**os.environ, **server.environment},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ChildError(f"`prefect {' '.join(arguments)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _say_dashboards_port(dashboard: DashboardServer) -> None:
    if dashboard.port != DASHBOARDS_PORT:
        console.print(
            f"              port {DASHBOARDS_PORT} is taken; the dashboard uses {dashboard.port}", highlight=False
        )


def _workers(server: PrefectServer, dashboard: DashboardServer) -> list[Child]:
    commands = {
        PREFECT_WORKER: [
            sys.executable, "-m", "prefect", "worker", "start",
            "--pool", WORK_POOL, "--type", "process", "--install-policy", "never",
        ],
        WORKER: [sys.executable, "-m", "deployments.cli", "worker"],
    }
    environment = {**server.environment, **dashboard.environment}
    return [
        Child(name, command, log=log_folder() / f"{name}.log", environment=environment, folder=PROJECT_ROOT)
        for name, command in commands.items()
    ]


def _worker_is_ready(child: Child, server: PrefectServer) -> Callable[[], bool]:
    def ready() -> bool:
        with database.transaction() as connection:
            sql = "SELECT 1 FROM workers WHERE pid = %s AND host = %s AND stopped_at IS NULL"
            return connection.execute(sql, [child.pid, os.uname().nodename]).fetchone() is not None

    return ready


def _prefect_worker_is_ready(child: Child, server: PrefectServer) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            answer = httpx.post(f"{server.api_url}/work_pools/{WORK_POOL}/workers/filter", json={}, timeout=5)
        except httpx.HTTPError:
            return False
        return answer.is_success and any(worker["status"] == "ONLINE" for worker in answer.json())

    return ready


_ready = {WORKER: _worker_is_ready, PREFECT_WORKER: _prefect_worker_is_ready}


def _welcome(server: PrefectServer, dashboard: DashboardServer) -> str:
    return (
        f"\nDashboard     {dashboard.url}\n"
        f"API           {dashboard.api_docs_url}\n"
        f"Prefect UI    {server.ui_url}\n"
        f"\nschedules     {dashboard.url}/schedules, on the work pool {WORK_POOL}\n"
        f"logs          {log_folder()}\n"
        "\nTry, in another terminal:\n"
        "  .venv/bin/jobs stats\n"
        f"  PREFECT_API_URL={server.api_url} .venv/bin/prefect deployment run process-opportunities/hourly\n"
        "\nCtrl-C stops everything."
    )


def _watch(children: list[Child], received: list[int]) -> None:
    died: dict[str, float] = {}
    while not received:
        time.sleep(TURN_SECONDS)
        for child in children:
            if child.running:
                continue
            since = died.setdefault(child.name, time.monotonic())
            if time.monotonic() - since >= RESTART_SECONDS:
                console.print(f"{child.name} ended with {child.exit_code}; starting it again (log: {child.log})")
                child.start()
                del died[child.name]


def _drain() -> None:
    try:
        drain_workers(host=os.uname().nodename, timeout=settings().grace_period)
    except Exception as error:  # whatever it is, the children are to be stopped
        console.print(f"the workers could not be asked to end, and are stopped now: {error}", highlight=False)


def _down(server: PrefectServer, children: list[Child]) -> None:
    if children:
        console.print("\nstopping: running jobs may end first ...")
    for child in children:
        if child.name == PREFECT_WORKER and child.running:
            # It would end its flow runs at once on SIGTERM; asked through the database they end by themselves.
            _drain()
    for child in children:
        child.terminate()
    for child in children:
        child.stop(grace=STOP_SECONDS if child.name == "dashboard" else settings().grace_period + 10)
    server.stop()
    database.dispose()
    if children:
        console.print("stopped")
