"""Job type `cleanup_old_data`: what is deleted, what stays, and what becomes of the roll-up."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from crm_rows import add_customer, add_promotion, execute, rows
from pydantic import ValidationError

from models import database as database_module
from models import job_queue, registry
from models.deletion import delete_old_jobs, probe
from models.retention import POLICIES, days_by_status
from models.sql import statement
from tasks.context import CurrentJob, running_job

pytestmark = pytest.mark.usefixtures("database")


def clean(days: int = 30, **payload: Any) -> dict[str, Any]:
    job_type = registry.load()["cleanup_old_data"]
    result = job_type.run(job_type.payload.model_validate({"days": days, **payload}))
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

    deleted = clean()["deleted"]

    assert (deleted["background_jobs"], deleted["job_failures"]) == (2, 6)
    assert rows("SELECT DISTINCT job_id FROM job_failures") == [("new1",)]


def test_each_status_has_a_retention_of_its_own() -> None:
    for status in ("completed", "failed", "cancelled"):
        for age in (5, 15, 40, 100):
            add_jobs(1, status=status, created=f"{age} days", ended=f"{age} days", prefix=f"{status}-{age}-")

    result = clean(30, completed_days=10, failed_days=90)

    assert result["jobs_by_status"] == {"completed": 3, "failed": 1, "cancelled": 2}
    assert ids() == [
        "cancelled-15-1", "cancelled-5-1", "completed-5-1", "failed-15-1", "failed-40-1", "failed-5-1",
    ]  # fmt: skip


def test_jobs_are_deleted_in_chunks_each_in_a_transaction_of_its_own() -> None:
    add_jobs(25, status="completed", created="40 days", ended="40 days")
    add_jobs(3, status="completed", created="60 days", ended="60 days", prefix="older")
    left = []

    chunks = []
    for chunk in delete_old_jobs(days_by_status(30), chunk_rows=10):
        chunks.append(chunk.jobs)
        left.append(rows("SELECT count(*) FROM background_jobs")[0][0])

    assert chunks == [10, 10, 8]
    assert left == [18, 8, 0]


def test_a_whole_number_of_chunks_ends_too() -> None:
    add_jobs(20, status="completed", created="40 days", ended="40 days")

    assert [chunk.jobs for chunk in delete_old_jobs(days_by_status(30), chunk_rows=10)] == [10, 10]
    assert list(delete_old_jobs(days_by_status(30), chunk_rows=10)) == []


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
        parameters = {"after": "-infinity", "now": "2030-01-01", "most": 10, **days_by_status(30)}
        text = f"EXPLAIN {statement('delete_old_jobs')}"
        plan = "\n".join(row[0] for row in connection.execute(text.encode(), parameters).fetchall())

    assert "Index Scan Backward using idx_jobs_created_at" in plan
    assert "Sort" not in plan and "Seq Scan" not in plan


def add_metric(bucket: str, *, resolution: int = 1, job_type: str = "a", worker: str = "w", completed: int = 1) -> None:
    execute(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed, failed, retried,"
        " cancelled, lost, requeued, wait_seconds, run_seconds, wait, run, snoozed, stage_micros)"
        f" VALUES ({bucket}, %s, %s, 5, %s, %s, 2, 3, 4, 5, 6, 0.5, 1.5, '{{\"3\": 2}}', '{{\"3\": 1, \"7\": 1}}',"
        " 7, '{\"fetch\": 30, \"work\": 200}')",
        resolution, job_type, worker, completed,
    )  # fmt: skip


def metrics() -> list[tuple[Any, ...]]:
    return rows(
        "SELECT resolution, job_type, worker_id, completed FROM job_metrics ORDER BY bucket, job_type, worker_id"
    )


@pytest.fixture
def old_hour() -> str:
    """The hour of 50 hours ago, the same all the test long."""
    ((hour,),) = rows("SELECT date_trunc('hour', now() - interval '50 hours')")
    return f"timestamptz '{hour.isoformat()}'"


def test_minutes_older_than_two_days_become_hours_with_nothing_lost(old_hour: str) -> None:
    for minute in (0, 1, 59):
        add_metric(f"{old_hour} + interval '{minute} minutes'", completed=10)
    add_metric(f"{old_hour} + interval '60 minutes'")
    add_metric(old_hour, job_type="b")
    add_metric(old_hour, worker="other")
    add_metric("date_trunc('minute', now())")

    result = clean()

    assert result["minutes_merged"] == 6
    assert metrics() == [
        (60, "a", "", 31), (60, "b", "", 1), (60, "a", "", 1), (1, "a", "w", 1),
    ]  # fmt: skip
    merged = rows(
        f"SELECT bucket = {old_hour}, failed, retried, cancelled, lost, requeued, wait_seconds, run_seconds, wait, run,"
        " snoozed, stage_micros FROM job_metrics WHERE completed = 31"
    )
    assert merged == [
        (True, 8, 12, 16, 20, 24, 2.0, 6.0, {"3": 8}, {"3": 4, "7": 4}, 28, {"fetch": 120, "work": 800})
    ]
    assert clean()["minutes_merged"] == 0


def test_minutes_that_come_late_are_added_to_their_hour(old_hour: str) -> None:
    add_metric(old_hour, completed=1)
    clean()
    add_metric(f"{old_hour} + interval '5 minutes'", completed=2)

    clean()

    assert metrics() == [(60, "a", "", 3)]
    assert rows(
        "SELECT failed, retried, cancelled, lost, requeued, wait_seconds, run_seconds, wait, run, snoozed, stage_micros"
        " FROM job_metrics"
    ) == [(4, 6, 8, 10, 12, 1.0, 3.0, {"3": 4}, {"3": 2, "7": 2}, 14, {"fetch": 60, "work": 400})]


def test_hours_and_audit_entries_are_kept_for_thirteen_months() -> None:
    add_metric("now() - interval '14 months'", resolution=60)
    add_metric("now() - interval '12 months'", resolution=60)
    execute(
        "INSERT INTO audit_log (at, who, action, target)"
        " SELECT now() - age, 'anna', 'retry', 'j'"
        " FROM unnest(ARRAY['14 months', '15 months', '12 months']::interval[]) AS age"
    )

    result = clean()

    assert (result["deleted"]["job_metrics"], result["deleted"]["audit_log"]) == (1, 2)
    assert len(metrics()) == 1
    assert len(rows("SELECT FROM audit_log")) == 1


def test_totals_outlive_the_jobs(old_hour: str) -> None:
    add_jobs(3, status="completed", created="40 days", ended="40 days")
    add_metric(old_hour, completed=3)
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
    assert payload.model_validate({}).model_dump(exclude_defaults=True) == {}
    assert payload.model_validate({}).model_dump()["days"] == 30


def test_a_retention_that_no_table_has_or_that_is_too_short_is_refused() -> None:
    payload = registry.load()["cleanup_old_data"].payload
    assert payload.model_validate({"keep": {"audit_log": 60}})
    for wrong, said in (({"customers": 30}, "expected some of"), ({"messages": 30}, "expected 120 to 3650 days")):
        with pytest.raises(ValidationError, match=said):
            payload.model_validate({"keep": wrong})


def test_the_rows_of_every_table_are_counted() -> None:
    result = clean()
    assert len({policy.name for policy in POLICIES}) == len(POLICIES)
    assert set(result["deleted"]) == {"background_jobs", "job_failures"} | {policy.table for policy in POLICIES}
    assert "vacuum_hint" not in result


def test_a_retention_may_be_shorter_than_the_policys_own() -> None:
    execute("INSERT INTO audit_log (at, who, action, target) VALUES (now() - interval '60 days', 'a', 'b', 'c')")

    assert clean()["deleted"]["audit_log"] == 0
    assert clean(keep={"audit_log": 45})["deleted"]["audit_log"] == 1


def test_workers_that_stopped_long_ago_are_forgotten_unless_a_job_still_waits_for_its_rescue() -> None:
    for name, beat, stopped in (("gone", 40, 40), ("silent", 40, None), ("holder", 40, None), ("fresh", 1, None)):
        execute(
            "INSERT INTO workers (worker_id, host, pid, job_types, beat_at, stopped_at) VALUES (%s, 'h', 1, '{}',"
            " now() - make_interval(days => %s), now() - make_interval(days => %s))",
            name, beat, stopped,
        )  # fmt: skip
    execute("INSERT INTO background_jobs (id, job_type, status, worker_id) VALUES ('j', 'x', 'processing', 'holder')")

    assert clean()["deleted"]["workers"] == 2
    assert rows("SELECT worker_id FROM workers ORDER BY 1") == [("fresh",), ("holder",)]


def test_a_message_stays_for_as_long_as_it_keeps_another_from_being_sent() -> None:
    add_customer()
    add_promotion("running")
    add_promotion("over", active=False)
    for number, (kind, subject, age) in enumerate(
        [
            ("send_promotion", "running", 3000), ("send_promotion", "over", 500), ("send_promotion", "over-new", 300),
            ("send_promotion", "waits", 500), ("send_review_request", "visit-1", 500),
            ("send_review_request", "visit-2", 300), ("send_review_request", "unsent", None),
        ]
    ):  # fmt: skip
        execute(
            "INSERT INTO messages (id, customer_id, kind, subject_id, channel, sent_at)"
            " VALUES (%s, 'c1', %s, %s, 'smtp', now() - make_interval(days => %s))",
            f"m{number}", kind, subject, age,
        )  # fmt: skip
    execute("INSERT INTO background_jobs (job_type, unique_key) VALUES ('send_promotion', 'm3')")

    assert clean()["deleted"]["messages"] == 2

    assert rows("SELECT subject_id FROM messages ORDER BY id") == [
        ("running",), ("over-new",), ("waits",), ("visit-2",), ("unsent",),
    ]  # fmt: skip


def test_what_would_be_deleted_is_counted_and_stays() -> None:
    add_jobs(3, status="completed", created="40 days", ended="40 days")
    add_jobs(2, status="failed", created="40 days", ended="40 days", prefix="f")
    execute("INSERT INTO audit_log (at, who, action, target) VALUES (now() - interval '3 years', 'a', 'b', 'c')")

    found = probe(days_by_status(30), {})

    assert {name: count for name, count in found.items() if count} == {
        "completed jobs": 3, "failed jobs": 2, "audit_log": 1,
    }  # fmt: skip
    assert len(ids()) == 5
