"""Job type `cleanup_old_data`: what is deleted, what stays, and what becomes of the roll-up."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from crm_rows import execute, rows
from pydantic import ValidationError

from models import database as database_module
from models import job_queue, registry, retention
from models.sql import statement
from tasks.context import CurrentJob, running_job

pytestmark = pytest.mark.usefixtures("database")


def clean(days: int = 30) -> dict[str, int]:
    job_type = registry.load()["cleanup_old_data"]
    result = job_type.run(job_type.payload.model_validate({"days": days}))
    assert isinstance(result, dict)
    return result


def add_jobs(count: int, *, status: str, created: str, ended: str | None = None, prefix: str = "j") -> None:
    execute(
        "INSERT INTO background_jobs (id, job_type, status, created_at, updated_at, scheduled_for, completed_at)"
        " SELECT %s || n, 'send_promotion', %s, now() - %s::interval, now() - %s::interval, now() - %s::interval,"
        " now() - %s::interval FROM generate_series(1, %s) AS n",
        prefix, status, created, ended or created, created, ended, count,
    )  # fmt: skip


def ids() -> list[str]:
    return [row[0] for row in rows("SELECT id FROM background_jobs ORDER BY id")]


def test_only_jobs_that_ended_long_enough_ago_are_deleted() -> None:
    for status in ("completed", "failed", "cancelled"):
        add_jobs(1, status=status, created="40 days", ended="31 days", prefix=f"old-{status}")
        add_jobs(1, status=status, created="40 days", ended="29 days", prefix=f"waited-{status}")
        add_jobs(1, status=status, created="2 days", ended="1 day", prefix=f"new-{status}")
    add_jobs(1, status="failed", created="40 days", prefix="never-started")
    for status in ("pending", "processing"):
        add_jobs(1, status=status, created="4000 days", prefix=status)

    assert clean()["jobs"] == 4

    assert ids() == sorted(
        ["pending1", "processing1"]
        + [f"{when}-{status}1" for when in ("waited", "new") for status in ("completed", "failed", "cancelled")]
    )


def test_a_jobs_failures_go_with_it() -> None:
    add_jobs(2, status="failed", created="40 days", ended="40 days")
    add_jobs(1, status="failed", created="1 day", ended="1 day", prefix="new")
    execute(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)"
        " SELECT id, job_type, attempt, 'E', 'm', 'f' FROM background_jobs, generate_series(1, 3) AS attempt"
    )

    clean()

    assert rows("SELECT DISTINCT job_id FROM job_failures") == [("new1",)]


def test_jobs_are_deleted_in_chunks_each_in_a_transaction_of_its_own() -> None:
    add_jobs(25, status="completed", created="40 days", ended="40 days")
    add_jobs(3, status="completed", created="60 days", ended="60 days", prefix="older")
    left = []

    chunks = []
    for chunk in retention.delete_old_jobs(30, chunk_rows=10):
        chunks.append(chunk.jobs)
        left.append(rows("SELECT count(*) FROM background_jobs")[0][0])

    assert chunks == [10, 10, 8]
    assert left == [18, 8, 0]


def test_a_whole_number_of_chunks_ends_too() -> None:
    add_jobs(20, status="completed", created="40 days", ended="40 days")

    assert [chunk.jobs for chunk in retention.delete_old_jobs(30, chunk_rows=10)] == [10, 10]
    assert list(retention.delete_old_jobs(30, chunk_rows=10)) == []


def test_a_job_that_somebody_holds_is_left_for_the_next_time() -> None:
    add_jobs(2, status="failed", created="40 days", ended="40 days")
    with psycopg.connect(database_module.database_url()) as retrying:
        retrying.execute("UPDATE background_jobs SET status = 'pending' WHERE id = 'j1'")
        assert clean()["jobs"] == 1
        retrying.commit()

    assert clean()["jobs"] == 0
    assert ids() == ["j1"]


def test_the_walk_goes_along_the_index_whatever_the_statistics_say() -> None:
    add_jobs(3000, status="completed", created="40 days", ended="40 days")
    with database_module.transaction() as connection:
        connection.execute(statement("along_the_indexes"))
        parameters = {"after": "-infinity", "cutoff": "2030-01-01", "most": 10}
        text = statement("delete_old_jobs").replace("%(cutoff)s", "%(cutoff)s::timestamptz")
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {text}".encode(), parameters).fetchall())

    assert "Index Scan Backward using idx_jobs_created_at" in plan
    assert "Sort" not in plan and "Seq Scan" not in plan


def add_metric(bucket: str, *, resolution: int = 1, job_type: str = "a", worker: str = "w", completed: int = 1) -> None:
    execute(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed, failed, retried,"
        " cancelled, lost, requeued, wait_seconds, run_seconds, wait, run)"
        f" VALUES ({bucket}, %s, %s, 5, %s, %s, 2, 3, 4, 5, 6, 0.5, 1.5, '{{\"3\": 2}}', '{{\"3\": 1, \"7\": 1}}')",
        resolution, job_type, worker, completed,
    )  # fmt: skip


def metrics() -> list[tuple[Any, ...]]:
    return rows(
        "SELECT resolution, job_type, worker_id, completed FROM job_metrics ORDER BY bucket, job_type, worker_id"
    )


OLD_HOUR = "date_trunc('hour', now() - interval '50 hours')"


def test_minutes_older_than_two_days_become_hours_with_nothing_lost() -> None:
    for minute in (0, 1, 59):
        add_metric(f"{OLD_HOUR} + interval '{minute} minutes'", completed=10)
    add_metric(f"{OLD_HOUR} + interval '60 minutes'")
    add_metric(f"{OLD_HOUR}", job_type="b")
    add_metric(f"{OLD_HOUR}", worker="other")
    add_metric("date_trunc('minute', now())")

    result = clean()

    assert result["minutes_merged"] == 6
    assert metrics() == [
        (60, "a", "other", 1), (60, "a", "w", 30), (60, "b", "w", 1), (60, "a", "w", 1), (1, "a", "w", 1),
    ]  # fmt: skip
    merged = rows(
        f"SELECT bucket = {OLD_HOUR}, failed, retried, cancelled, lost, requeued, wait_seconds, run_seconds, wait, run"
        " FROM job_metrics WHERE completed = 30"
    )
    assert merged == [(True, 6, 9, 12, 15, 18, 1.5, 4.5, {"3": 6}, {"3": 3, "7": 3})]
    assert clean()["minutes_merged"] == 0


def test_minutes_that_come_late_are_added_to_their_hour() -> None:
    add_metric(OLD_HOUR, completed=1)
    clean()
    add_metric(f"{OLD_HOUR} + interval '5 minutes'", completed=2)

    clean()

    assert metrics() == [(60, "a", "w", 3)]
    assert rows(
        "SELECT failed, retried, cancelled, lost, requeued, wait_seconds, run_seconds, wait, run FROM job_metrics"
    ) == [(4, 6, 8, 10, 12, 1.0, 3.0, {"3": 4}, {"3": 2, "7": 2})]


def test_hours_and_audit_entries_are_kept_for_thirteen_months() -> None:
    add_metric("now() - interval '14 months'", resolution=60)
    add_metric("now() - interval '12 months'", resolution=60)
    execute(
        "INSERT INTO audit_log (at, who, action, target)"
        " SELECT now() - age, 'anna', 'retry', 'j'"
        " FROM unnest(ARRAY['14 months', '15 months', '12 months']::interval[]) AS age"
    )

    result = clean()

    assert (result["hours_deleted"], result["audit_entries"]) == (1, 2)
    assert len(metrics()) == 1
    assert len(rows("SELECT FROM audit_log")) == 1


def test_totals_outlive_the_jobs() -> None:
    add_jobs(3, status="completed", created="40 days", ended="40 days")
    add_metric(OLD_HOUR, completed=3)
    before = job_queue.get_stats().completed

    clean()

    assert job_queue.get_stats().completed == before == 3


def test_progress_grows_and_says_how_many() -> None:
    add_jobs(3, status="completed", created="40 days", ended="40 days")
    reports: list[tuple[float, str | None]] = []
    job = CurrentJob("j", "cleanup_old_data", 1, 2, lambda share, note: reports.append((share, note)))
    token = running_job.set(job)
    clean()
    running_job.reset(token)

    shares = [share for share, _ in reports]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] < 1
    assert reports[0][1] == "3 jobs deleted"


@pytest.mark.parametrize("days", [0, -1, 3651, 1.5, "x", None])
def test_the_number_of_days_is_checked(days: Any) -> None:
    payload = registry.load()["cleanup_old_data"].payload
    with pytest.raises(ValidationError, match="days"):
        payload.model_validate({"days": days})
    assert payload.model_validate({}).model_dump() == {"days": 30}
