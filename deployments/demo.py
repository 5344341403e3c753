"""`jobs demo`: the main job from an empty folder to the last e-mail, with what happened as tables."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from deployments.output import console, duration, print_table
from deployments.ports import free_port
from deployments.prefect_server import PrefectServer
from models import database, job_queue
from models.settings import settings

if TYPE_CHECKING:
    from flows.shift import ShiftSummary

#: Not the usual port: the demo leaves that to `jobs up`.
DEMO_PORT = 4210
#: This share of mail deliveries fails on purpose, so that retries are seen.
MAIL_FAILURES = 0.04
#: How often the progress bar looks at the queue.
TURN_SECONDS = 0.3


def run_demo() -> int:
    """Runs the demo; 0 when nothing failed for good."""
    _own_surroundings()
    began = time.monotonic()
    server = PrefectServer(usual_port=free_port(DEMO_PORT))
    try:
        console.print("[bold]1.[/] Prefect server: starting (the first time takes half a minute)", highlight=False)
        server.begin()
        console.print("[bold]2.[/] database: ", end="")
        database.engine()
        console.print(f"embedded PostgreSQL in {settings().data_dir / 'postgres'}", highlight=False)
        console.print("[bold]3.[/] sample CRM: ", end="")
        console.print(_sample(), highlight=False)
        with console.status("waiting for the Prefect server"):
            server.wait()
        os.environ.update(server.environment)
        console.print(f"[bold]4.[/] Prefect server: up after {time.monotonic() - began:.0f} s", highlight=False)
        console.print(
            f"[bold]5.[/] flow process-opportunities: an offer for each open opportunity, the most urgent first;\n"
            f"   {MAIL_FAILURES:.0%} of the mail deliveries fail on purpose, so that retries are seen",
            highlight=False,
        )
        before = job_queue.get_stats()
        mails_before = len(_mails())
        summary, queued = _process()
        after = job_queue.get_stats()
        _report(summary, queued, mails_before)
        failed = after.failed - before.failed
        if failed or not summary.drained:
            console.print(
                f"[red]{failed} jobs failed for good, {after.queue_length} are left[/]: jobs list --status failed"
            )
            return 1
        console.print(f"\ndone in {duration(time.monotonic() - began)}; where to look next:", highlight=False)
        console.print(_next_steps(), highlight=False)
        return 0
    finally:
        server.stop()


def _own_surroundings() -> None:
    """The demo uses the embedded database and the outbox, whatever the environment says."""
    for name, value in (("DATABASE_URL", settings().database_url), ("SMTP_URL", settings().smtp_url)):
        if value is not None:
            console.print(f"{name} is set and left alone: the demo uses its own", style="yellow")
        # Empty rather than unset: a `.env` file may name it too.
        os.environ[name] = ""
    os.environ["JOB_QUEUE_DEMO_MAIL_FAILURES"] = str(MAIL_FAILURES)
    settings.cache_clear()


def _sample() -> str:
    from models.crm_sample import load_sample

    counts = load_sample()
    if not (counts.customers or counts.opportunities):
        return "there already"
    return f"{counts.customers} customers, {counts.opportunities} opportunities, {counts.promotions} promotions"


def _process() -> tuple[ShiftSummary, int]:
    from flows.process_opportunities import process_opportunities

    with _progress():
        result: dict[str, Any] = process_opportunities()
    return result["summary"], result["queued"]


@contextmanager
def _progress() -> Iterator[None]:
    """A bar of what has ended, fed from the queue's own figures."""
    before = job_queue.get_stats().completed
    over = threading.Event()
    bar = Progress(
        "   jobs completed", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True
    )

    def follow() -> None:
        task = bar.add_task("", total=None)
        while not over.wait(TURN_SECONDS):
            stats = job_queue.get_stats()
            done = stats.completed - before
            bar.update(task, completed=done, total=done + stats.pending + stats.processing)

    with bar:
        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()


def _report(summary: ShiftSummary, queued: int, mails_before: int) -> None:
    console.print()
    print_table(
        "Jobs by type",
        ("type", "completed", "attempts retried", "failed for good", "p50 run", "p95 run"),
        [
            (
                name, tally.ended("completed"), tally.ended("retried"), tally.ended("failed"),
                duration(tally.run_quantile(0.5)), duration(tally.run_quantile(0.95)),
            )
            for name, tally in sorted(summary.by_type.items())
        ],
    )
    offers = summary.by_type.get("process_opportunity_offer")
    if offers is not None:
        print_table(
            "Waiting time of the offers by priority (10 runs first: VIP, urgent, valuable)",
            ("priority", "jobs", "p50 wait", "p95 wait"),
            [
                (
                    priority, offers.endings[priority, "completed"],
                    duration(offers.wait_quantile(0.5, priority)), duration(offers.wait_quantile(0.95, priority)),
                )
                for priority in offers.priorities
            ],
        )
    console.print(
        f"queued {queued:,} opportunities; {summary.completed:,} jobs completed in {summary.seconds:.1f} s and "
        f"{summary.task_runs} Prefect task runs: {summary.jobs_per_second:,.0f} jobs/s, "
        "back-off of the failed deliveries included\n"
        f"e-mails written: {len(_mails()) - mails_before:,} (in all {len(_mails()):,}, in {_outbox()})",
        highlight=False,
    )


def _outbox() -> Path:
    return settings().data_dir / "outbox"


def _mails() -> list[Path]:
    return list(_outbox().glob("*.eml"))


def _next_steps() -> str:
    return (
        "  make up                               the stack stays: dashboard, Prefect UI, schedules, workers\n"
        "  .venv/bin/streamlit run dashboard/app.py    the dashboard alone, on http://localhost:8501\n"
        "  .venv/bin/jobs stats                  the queue in numbers\n"
        "  .venv/bin/jobs list --status completed --limit 5\n"
        f"  {_outbox()}    the e-mails"
    )
