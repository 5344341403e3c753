"""`jobs demo`: the main job from an empty folder to the last e-mail, with what happened as tables.

After it what else needs no service of the company's own: reminders, review requests, daily figures, a report.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from deployments.output import console, duration, print_table
from deployments.ports import free_port
from deployments.prefect_server import PrefectServer
from models import database, job_queue, metrics
from models.analytics import queue_analytics
from models.appointments import waiting_reminders
from models.lookup import find_job
from models.settings import settings

if TYPE_CHECKING:
    from flows.shift import ShiftSummary

#: Not the usual port: the demo leaves that to `jobs up`.
DEMO_PORT = 4210
#: This share of mail deliveries fails on purpose, so that retries are seen.
MAIL_FAILURES = 0.04
#: Days of the report, today included.
REPORT_DAYS = 7
#: What the messages are called that are not promotions.
MESSAGES = {"send_reminder": "reminders", "send_review_request": "requests for a review"}
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
        console.print(
            "[bold]6.[/] flows send-reminders, for the next day, and send-review-requests, about visits lately;\n"
            f"   with them the daily figures, and a report of {REPORT_DAYS} days",
            highlight=False,
        )
        others, report_id = _process_others()
        after = job_queue.get_stats()
        _show(summary, others, queued, mails_before)
        _show_messages(others, report_id)
        failed = after.failed - before.failed
        if failed or not (summary.drained and others.drained):
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
    """The demo uses the embedded database, the outbox and a folder for its report, whatever the environment says."""
    # Empty rather than unset: a `.env` file may name it too.
    own = {"DATABASE_URL": "", "SMTP_URL": "", "REPORT_DIR": str(settings().data_dir / "reports")}
    for name, value in own.items():
        if getattr(settings(), name.lower()) is not None:
            console.print(f"{name} is set and left alone: the demo uses its own", style="yellow")
        os.environ[name] = value
    _let_mails_fail(MAIL_FAILURES)


def _let_mails_fail(share: float) -> None:
    os.environ["JOB_QUEUE_DEMO_MAIL_FAILURES"] = str(share)
    settings.cache_clear()


def _sample() -> str:
    from models.crm_sample import load_sample

    counts = load_sample()
    if not (counts.customers or counts.opportunities or counts.appointments):
        return "there already"
    return (
        f"{counts.customers} customers, {counts.opportunities} opportunities, {counts.promotions} promotions, "
        f"{counts.appointments} appointments"
    )


def _process() -> tuple[ShiftSummary, int]:
    from flows.process_opportunities import process_opportunities

    with _progress():
        result: dict[str, Any] = process_opportunities()
    return result["summary"], result["queued"]


def _process_others() -> tuple[ShiftSummary, str]:
    """Whatever else needs no service of the company's own; and the id of the job that makes the report."""
    from flows.send_reminders import send_reminders
    from flows.send_review_requests import send_review_requests

    # Their back-offs are longer than the whole demo.
    _let_mails_fail(0.0)
    today = metrics.database_now().date()
    with _progress():
        queue_analytics()
        report_id = job_queue.add_job(
            type="generate_report",
            payload={"first": str(today - timedelta(days=REPORT_DAYS - 1)), "last": str(today), "name": "demo"},
            # The last one, so that it has the others in it.
            priority=1,
        )
        send_reminders(drain=False)
        result: dict[str, Any] = send_review_requests()
    return result["summary"], report_id


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


def _show(summary: ShiftSummary, others: ShiftSummary, queued: int, mails_before: int) -> None:
    console.print()
    print_table(
        "Jobs by type",
        ("type", "completed", "attempts retried", "failed for good", "put off", "p50 run", "p95 run"),
        [
            (
                name, tally.ended("completed"), tally.ended("retried"), tally.ended("failed"), tally.ended("snoozed"),
                duration(tally.run_quantile(0.5)), duration(tally.run_quantile(0.95)),
            )
            for shift in (summary, others)
            for name, tally in sorted(shift.by_type.items())
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
        f"queued {queued:,} opportunities; they and their mails: {summary.completed:,} jobs completed in "
        f"{summary.seconds:.1f} s and {summary.task_runs} Prefect task runs, {summary.jobs_per_second:,.0f} jobs/s, "
        "back-off of the failed deliveries included\n"
        f"e-mails written: {len(_mails()) - mails_before:,} (in all {len(_mails()):,}, in {_outbox()})",
        highlight=False,
    )


def _show_messages(others: ShiftSummary, report_id: str) -> None:
    sent = {name: others.by_type[name].ended("completed") if name in others.by_type else 0 for name in MESSAGES}
    line = ", ".join(f"{count} {MESSAGES[name]}" for name, count in sent.items())
    for waiting in waiting_reminders():
        until = waiting.until.astimezone(ZoneInfo(waiting.zone))
        line += f"; {waiting.jobs} more wait for {until:%H:%M} in {waiting.zone}: it is night there"
    console.print(f"of these {line}", highlight=False)
    job = find_job(report_id)
    folder = job.result["folder"] if job is not None and job.result else "not made: jobs show " + report_id
    console.print(f"report: {Path(folder) / 'report.html'}", highlight=False, soft_wrap=True)


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
