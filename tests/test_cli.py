"""The `jobs` command: what it prints, its exit codes, and errors without tracebacks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import main
from models import job_queue, lookup
from models.passwords import fits

pytestmark = pytest.mark.usefixtures("database")

COMMANDS = (
    *("demo", "up", "worker", "drain", "types", "add", "list", "show"),
    *("retry", "cancel", "undo", "groups", "pause", "resume", "limit", "stats", "import-crm", "migrate", "password"),
)


class Jobs:
    """Runs the command in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        printed = self._capsys.readouterr()
        self.out, self.err = printed.out, printed.err
        assert "Traceback" not in self.out + self.err
        return int(stopped.value.code or 0)

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def jobs(capsys: pytest.CaptureFixture[str]) -> Jobs:
    return Jobs(capsys)


def test_help_names_every_command(jobs: Jobs) -> None:
    assert jobs("--help") == 0
    for command in COMMANDS:
        assert command in jobs.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own(jobs: Jobs, command: str) -> None:
    assert jobs(command, "--help") == 0
    assert command in jobs.out


def test_the_payload_may_stand_behind_the_type(jobs: Jobs) -> None:
    assert jobs("add", "cleanup_old_data", '{"days": 31}', "--json") == 0
    found = lookup.find_job(jobs.json["id"])
    assert found is not None and found.payload["days"] == 31


def test_a_job_is_added_shown_cancelled_and_retried(jobs: Jobs) -> None:
    assert jobs("add", "cleanup_old_data", "--payload", '{"days": 30}', "--priority", "7", "--json") == 0
    job_id = jobs.json["id"]
    assert jobs("show", job_id, "--json") == 0
    assert (jobs.json["status"], jobs.json["priority"], jobs.json["payload"]) == ("pending", 7, {"days": 30})
    assert jobs("list", "--status", "pending", "--json") == 0
    assert [row["id"] for row in jobs.json] == [job_id]
    assert jobs("cancel", job_id) == 0
    assert "cancelled" in jobs.out
    assert jobs("cancel", job_id) == 1
    assert "not cancelled" in jobs.out
    assert jobs("retry", job_id, "--json") == 0
    assert jobs.json == {job_id: True}
    job = lookup.find_job(job_id)
    assert job is not None and job.status == "pending"


def test_tables_are_for_people(jobs: Jobs) -> None:
    job_id = job_queue.add_job(type="cleanup_old_data", payload={"days": 30})
    assert jobs("list") == 0
    assert job_id in jobs.out and "cleanup_old_data" in jobs.out
    assert jobs("show", job_id) == 0
    assert "scheduled for" in jobs.out
    assert jobs("stats") == 0
    assert "queue length" in jobs.out


def test_markup_in_a_jobs_texts_is_shown_as_text(jobs: Jobs) -> None:
    job_id = job_queue.add_job(type="cleanup_old_data", payload={"days": 30}, unique_key="[red]key[/red]")
    assert jobs("show", job_id) == 0
    assert "[red]key[/red]" in jobs.out


def test_stats_as_json_have_the_counts_by_status(jobs: Jobs) -> None:
    job_queue.add_job(type="cleanup_old_data", payload={"days": 30})
    assert jobs("stats", "--json") == 0
    assert jobs.json["queue_length"] == 1
    assert jobs.json["workers"] == []


def test_types_lists_the_payloads_fields(jobs: Jobs) -> None:
    assert jobs("types", "--json") == 0
    found = {row["job_type"]: row for row in jobs.json}
    assert {"send_promotion", "process_opportunity_offer", "cleanup_old_data"} <= found.keys()
    assert "customer_id" in found["send_promotion"]["payload_schema"]["properties"]
    assert jobs("types") == 0
    assert "customer_id" in jobs.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "no_such_type"), "type: expected one of"),
        (("add", "cleanup_old_data", "--payload", "{"), "expected a JSON object"),
        (("add", "cleanup_old_data", "--payload", "[1]"), "expected a JSON object"),
        (("add", "cleanup_old_data", "--priority", "11"), "1 to 10"),
        (("list", "--status", "done"), "expected one of pending"),
        (("list", "--limit", "0"), "expected 1 to 1000"),
        (("show", "no-such-job"), "no job 'no-such-job'"),
        (("retry",), "expected one job id or more"),
        (("import-crm", "no-such-file.toml"), "no-such-file.toml"),
        (("worker", "--types", "no_such_type"), "--types: expected some of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(jobs: Jobs, arguments: tuple[str, ...], said: str) -> None:
    assert jobs(*arguments) == 1
    assert said in jobs.err.replace("\n", " ")


@pytest.mark.parametrize("arguments", [("no-such-command",), ("add",), ("add", "x", "--priority", "high")])
def test_a_command_line_that_makes_no_sense_exits_with_2(jobs: Jobs, arguments: tuple[str, ...]) -> None:
    assert jobs(*arguments) == 2


def test_a_wrong_setting_is_named(jobs: Jobs, configure: Any) -> None:
    configure(JOB_QUEUE_CONCURRENCY="many")
    assert jobs("stats") == 1
    assert "JOB_QUEUE_CONCURRENCY" in jobs.err


def test_a_database_that_is_not_there_is_said(jobs: Jobs, configure: Any) -> None:
    configure(DATABASE_URL="postgresql://nobody:s3cret@127.0.0.1:1/none")
    assert jobs("stats") == 1
    assert "connection" in jobs.err
    assert "s3cret" not in jobs.err


def test_migrate_says_when_there_is_nothing_to_do(jobs: Jobs) -> None:
    assert jobs("migrate") == 0
    assert "up to date" in jobs.out


def test_import_crm_prints_what_it_did(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name\n1,Ann\n2,\n", encoding="utf-8")
    (tmp_path / "map.toml").write_text(
        '[customers]\nfile = "people.csv"\ncolumns = { id = "id", name = "name" }\n', encoding="utf-8"
    )
    assert jobs("import-crm", str(tmp_path / "map.toml"), "--json") == 0
    assert jobs.json["customers"] == {"read": 2, "inserted": 1, "updated": 0, "unchanged": 0, "rejected": 1}
    assert Path(jobs.json["report"]).is_file()


def test_drain_without_a_worker_says_so(jobs: Jobs) -> None:
    assert jobs("drain") == 0
    assert "no worker is running" in jobs.out


def test_a_password_becomes_the_hash_that_the_settings_take(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert jobs("password") == 0
    name, _, hashed = jobs.out.strip().partition("=")
    assert name == "DASHBOARD_PASSWORD_HASH"
    assert fits("correct horse battery", hashed.strip("'")) and not fits("correct horse", hashed.strip("'"))
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert jobs("password") == 1
    assert "expected a password of 12 to 1024 characters, got 5" in jobs.err and "short" not in jobs.out
