"""The flows that add one job each (clean-up, daily figures, weekly report): rehearsed, then run for real."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_customer, execute, rows

from flows.cleanup_old_jobs import cleanup_old_jobs
from flows.update_analytics import update_analytics
from flows.weekly_report import weekly_report
from models import job_queue

pytestmark = pytest.mark.usefixtures("prefect_api", "database")


@pytest.fixture(autouse=True)
def folder(configure: Any, tmp_path: Path) -> Path:
    configure(REPORT_DIR=tmp_path / "reports")
    return tmp_path / "reports"


def jobs() -> list[tuple[str, str]]:
    return rows("SELECT job_type, status FROM background_jobs WHERE NOT starts_with(id, 'old') ORDER BY id")


def test_a_rehearsal_says_what_would_be_done_and_queues_nothing(folder: Path) -> None:
    add_customer()
    execute(
        "INSERT INTO background_jobs (id, job_type, status, created_at, completed_at)"
        " SELECT 'old' || n, 'note', 'completed', now() - interval '40 days', now() - interval '40 days'"
        " FROM generate_series(1, 3) AS n"
    )

    clean = cleanup_old_jobs(dry_run=True)
    figures = update_analytics(days=5, dry_run=True)
    report = weekly_report(weeks_ago=2, dry_run=True)

    assert (clean["would_delete"]["completed jobs"], clean["at_least"]) == (3, [])
    assert (figures["days"], figures["first"]) == (1, figures["last"])
    monday, sunday = (date.fromisoformat(day) for day in report["period"].split(" to "))
    assert report["report"] == f"week-{monday}" and (sunday - monday).days == 6 and monday.isoweekday() == 1
    assert jobs() == [] and not folder.exists()
    assert rows("SELECT count(*) FROM analytics_daily") == [(0,)]
    assert rows("SELECT count(*) FROM background_jobs") == [(3,)]


def test_one_run_works_off_its_job_and_what_else_waits(folder: Path) -> None:
    job_queue.add_job(type="cleanup_old_data", payload={"days": 30})
    job_queue.add_job(type="update_analytics")

    done = weekly_report(drain_seconds=240)

    assert done["status"] == "completed" and len(done["result"]["files"]) == 10
    assert (folder / done["result"]["report"] / "report.html").is_file()
    assert sorted(jobs()) == [
        ("cleanup_old_data", "completed"), ("generate_report", "completed"), ("update_analytics", "completed"),
    ]  # fmt: skip
    assert rows("SELECT progress, progress_note IS NULL FROM background_jobs WHERE job_type = 'generate_report'") == [
        (1.0, False)
    ]
