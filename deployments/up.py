"""`jobs up`: the whole stack on this machine, in order, until Ctrl-C; then down again in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from deployments.output import console
from deployments.prefect_server import USUAL_PORT, PrefectServer, log_folder
from deployments.processes import Child, ChildError
from deployments.worker_command import drain_workers
from models import database
from models.settings import PROJECT_ROOT, settings

WORK_POOL = "process-pool"
TURN_SECONDS = 0.5
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
        children = _workers(server)
        for child in children:
            child.start()
        _on_signals(note)
        console.print(_welcome(server), highlight=False)
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


def _workers(server: PrefectServer) -> list[Child]:
    commands = {
        "worker": [sys.executable, "-m", "deployments.cli", "worker"],
        "prefect-worker": [
            sys.executable, "-m", "prefect", "worker", "start",
            "--pool", WORK_POOL, "--type", "process", "--install-policy", "never",
        ],
    }
    return [
        Child(
            name, command, log=log_folder() / f"{name}.log", environment=server.environment, folder=PROJECT_ROOT
        )
        for name, command in commands.items()
    ]


def _welcome(server: PrefectServer) -> str:
    return (
        f"Prefect UI    {server.ui_url}\n"
        f"job worker    {settings().concurrency} batches at once, up to {settings().batch_size} jobs each\n"
        f"work pool     {WORK_POOL}: process-jobs/drain, process-opportunities/hourly, cleanup-old-jobs/daily,\n"
        "              send-reminders/hourly, send-review-requests/daily\n"
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
        if child.name == "prefect-worker" and child.running:
            # It would end its flow runs at once on SIGTERM; asked through the database they end by themselves.
            _drain()
    for child in children:
        child.terminate()
    for child in children:
        child.stop(grace=settings().grace_period + 10)
    server.stop()
    database.dispose()
    if children:
        console.print("stopped")
