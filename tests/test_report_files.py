"""The folders of reports: complete or not there, whoever is killed or writes the same one; only ours are removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import at_once

from models import registry
from models.settings import PROJECT_ROOT
from tasks import PermanentError
from tasks.context import CurrentJob, running_job
from tasks.services import report_files

NOW = datetime(2026, 3, 10, tzinfo=UTC)
WEEK = {"first": "2026-03-02", "last": "2026-03-08", "name": "week"}
#: A real worker's attempt that is killed the moment it has written so many files.
KILLED = """
import os, signal, sys
from models import registry
generate = registry.load()["generate_report"]
left, sync = int(sys.argv[1]), os.fsync
def counted(descriptor):
    global left
    sync(descriptor)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = counted
generate.run(generate.payload(first="2026-03-02", last="2026-03-08", name="week"))
"""
#: Eight CSV files, the workbook, the page, the manifest, and the folder itself.
WRITES = 12


@pytest.fixture(autouse=True)
def folder(configure: Any, tmp_path: Path) -> Path:
    configure(REPORT_DIR=tmp_path / "reports")
    return tmp_path / "reports"


def report(**payload: Any) -> dict[str, Any]:
    job_type = registry.load()["generate_report"]
    result = job_type.run(job_type.payload.model_validate(payload))
    assert isinstance(result, dict)
    return result


def write(name: str, *, made_at: datetime = NOW, text: str = "x") -> None:
    with report_files.replacing(name, {"made_at": made_at.isoformat()}) as building:
        building.add("report.html", text.encode())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../out", "a/b", "/tmp/out", "a\\b", "a.b", ".hidden", "A", "a" * 65, "a\n", "a\0b", "-rf", "ä"],
)
def test_a_name_that_could_be_a_path_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(ValueError):
        registry.load()["generate_report"].payload.model_validate({"name": name})
    with pytest.raises(PermanentError, match="expected small letters"):
        write(name)
    assert not folder.exists() or names(folder) == []


def test_a_link_is_not_followed_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (folder / "week").symlink_to(outside)

    with pytest.raises(PermanentError, match="is a link"):
        write("week")
    assert names(outside) == [] and report_files.reports() == []


def test_a_folder_of_somebody_else_is_neither_replaced_nor_removed(folder: Path) -> None:
    for name, files in (("photos", {"a.jpg": "x"}), ("fake", {"report.json": "{}"}), ("empty", {})):
        (folder / name).mkdir(parents=True)
        for file, text in files.items():
            (folder / name / file).write_text(text)
    write("mine", made_at=NOW - timedelta(days=900))
    (folder / "mine" / "notes.txt").write_text("somebody put this here")
    write("ours", made_at=NOW - timedelta(days=900))

    assert report_files.prune(NOW, keep=1, days=1) == ["ours"]
    assert names(folder) == ["empty", "fake", "mine", "photos"]
    for name in names(folder):
        with pytest.raises(PermanentError, match="no report of ours"):
            write(name)


def test_the_oldest_reports_are_removed_by_count_and_by_age(folder: Path) -> None:
    for age in range(6):
        write(f"r{age}", made_at=NOW - timedelta(days=10 * age))

    assert report_files.prune(NOW, keep=4, days=400) == ["r4", "r5"]
    assert report_files.prune(NOW, keep=4, days=15) == ["r2", "r3"]
    assert report_files.prune(NOW, keep=1, days=1, but="r1") == []
    assert names(folder) == ["r0", "r1"]


def test_a_job_removes_old_reports_but_never_its_own(database: str, folder: Path, configure: Any) -> None:
    configure(REPORT_DIR=folder, REPORTS_KEPT=2, REPORT_DAYS_KEPT=3650)
    for year in (2020, 2021, 2022):
        write(f"old-{year}", made_at=datetime(year, 1, 1, tzinfo=UTC))

    assert report(**WEEK)["removed"] == ["old-2021", "old-2020"]
    assert report(**WEEK, keep_days=30)["removed"] == ["old-2022"]
    assert names(folder) == ["week"]


def test_the_daily_clean_up_removes_old_reports_and_what_killed_workers_left(database: str, folder: Path) -> None:
    write("old", made_at=datetime(2020, 1, 1, tzinfo=UTC))
    (folder / ".building-week-abc").mkdir()
    (folder / ".building-week-abc" / "jobs.csv").write_text("half")
    clean = registry.load()["cleanup_old_data"]

    assert clean.run(clean.payload())["reports_removed"] == 1
    assert names(folder) == []


def test_an_error_while_writing_leaves_what_was_there(folder: Path) -> None:
    write("week", text="before")
    with (
        pytest.raises(ZeroDivisionError),
        report_files.replacing("week", {"made_at": NOW.isoformat()}) as building,
    ):
        building.add("report.html", b"after")
        raise ZeroDivisionError
    assert (folder / "week" / "report.html").read_text() == "before"
    assert names(folder) == ["week"]


def test_the_same_job_makes_one_report_and_another_job_replaces_it(database: str, folder: Path) -> None:
    def as_job(job_id: str) -> float:
        token = running_job.set(CurrentJob(job_id, "generate_report", 1, 2, lambda share, note: None))
        report(**WEEK)
        running_job.reset(token)
        return (folder / "week" / "report.html").stat().st_mtime_ns

    first = as_job("j1")
    assert as_job("j1") == first
    assert as_job("j2") > first
    assert names(folder) == ["week"]
    assert json.loads((folder / "week" / "report.json").read_text())["job_id"] == "j2"


def test_jobs_for_the_same_report_at_the_same_time_make_one(database: str, folder: Path) -> None:
    results = at_once(4, lambda number: report(**WEEK))

    assert [result["report"] for result in results] == ["week"] * 4
    assert names(folder) == ["week"] and report_files.manifest_of(folder / "week") is not None


@pytest.mark.parametrize(("writes", "before"), [(1, False), (10, False), (WRITES, False), (5, True), (WRITES, True)])
def test_killed_between_files_nobody_sees_half_a_report_and_the_next_attempt_completes(
    writes: int, before: bool, database: str, folder: Path
) -> None:
    if before:
        report(**WEEK)
    there = (folder / "week" / "report.html").stat() if before else None
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    worker = subprocess.run([sys.executable, "-c", KILLED, str(writes)], env=environment, cwd=PROJECT_ROOT)

    assert worker.returncode == -signal.SIGKILL
    assert [name for name in names(folder) if not name.startswith(".")] == (["week"] if before else [])
    assert len(names(folder)) == 1 + before
    if there is not None:
        assert (folder / "week" / "report.html").stat().st_mtime_ns == there.st_mtime_ns

    assert len(report(**WEEK)["files"]) == 10
    assert names(folder) == ["week"]


def test_what_is_being_written_is_not_swept_away(folder: Path) -> None:
    with report_files.replacing("week", {"made_at": NOW.isoformat()}) as building:
        report_files.sweep()
        write("other")
        building.add("report.html", b"x")
    assert names(folder) == ["other", "week"]


def test_a_folder_that_cannot_be_made_is_named_with_its_setting(configure: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    configure(REPORT_DIR=tmp_path / "file" / "reports")
    with pytest.raises(PermanentError, match="cannot be written .*set REPORT_DIR"):
        write("week")
    assert report_files.reports() == [] and report_files.prune(NOW) == []
