"""What dead workers held is put back, and what no worker will ever run fails; a dead worker's row is backdated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from support import held_by, insert, job, query, value, worker_row

from models import database as databases
from models import lookup, rescue
from models.rescue import FAIL_AFTER_LOSSES, LEASE_SECONDS, UnknownTypeWatch, rescue_lost_jobs

pytestmark = pytest.mark.usefixtures("database")

DEAD = LEASE_SECONDS + 5


def _rescue() -> int:
    with databases.connect() as connection:
        return rescue_lost_jobs(connection)


def _events() -> dict[str, int]:
    names = ("lost", "failed", "completed", "retried")
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in names)
    return dict(zip(names, query(f"SELECT {sums} FROM job_metrics")[0], strict=True))


# --- What dead workers held ---


def test_only_the_jobs_of_dead_workers_are_put_back_at_once() -> None:
    worker_row("dead", beat_age=DEAD)
    worker_row("live", beat_age=LEASE_SECONDS - 20)
    lost = [held_by("dead", age=3600), held_by("dead", retry_count=1, priority=9)]
    held = held_by("live", age=3600)
    waits, done = insert(), insert(status="completed", worker_id="dead")

    assert _rescue() == 2

    for job_id in lost:
        row = job(job_id)
        assert (row["status"], row["worker_id"], row["started_at"], row["lost_count"]) == ("pending", None, None, 1)
        assert row["error_message"] == "the worker that ran this job died (1 times so far)"
    assert job(lost[1])["retry_count"] == 1, "a loss is no retry"
    assert (job(held)["status"], job(held)["worker_id"]) == ("processing", "live")
    assert (job(waits)["status"], job(done)["status"]) == ("pending", "completed")
    assert _events() == {"lost": 2, "failed": 0, "completed": 0, "retried": 0}
    assert _rescue() == 0


def test_a_loss_stands_in_the_jobs_history_with_who_lost_it() -> None:
    worker_row("dead", beat_age=DEAD)
    lost = held_by("dead", retry_count=2, flow_run_id="a flow run")
    started_at = job(lost)["started_at"]
    _rescue()

    (failure,) = lookup.failures_of(lost)
    assert (failure.error_class, failure.fingerprint, failure.attempt) == ("WorkerLost", "note:WorkerLost", 3)
    assert (failure.worker_id, failure.flow_run_id, failure.started_at) == ("dead", "a flow run", started_at)


def test_a_job_lost_five_times_fails_for_good() -> None:
    worker_row("dead", beat_age=DEAD)
    fatal = held_by("dead", lost_count=FAIL_AFTER_LOSSES - 1)
    other = held_by("dead", lost_count=FAIL_AFTER_LOSSES - 2)

    assert _rescue() == 2

    row = job(fatal)
    assert (row["status"], row["lost_count"], row["worker_id"]) == ("failed", FAIL_AFTER_LOSSES, "dead")
    assert row["completed_at"] is not None and row["started_at"] is not None
    assert row["error_message"] == "the worker that ran this job died (5 times so far)"
    assert job(other)["status"] == "pending"
    assert _events() == {"lost": 2, "failed": 1, "completed": 0, "retried": 0}


def test_a_worker_that_signed_off_keeps_nothing_however_fresh_its_last_beat() -> None:
    worker_row("gone", beat_age=0)
    query("UPDATE workers SET stopped_at = now()")
    lost = held_by("gone")

    assert _rescue() == 1
    assert job(lost)["status"] == "pending"


@pytest.mark.parametrize("holder", ["never heard of", None])
def test_an_unknown_holder_has_a_lease_from_its_claim_on(holder: str | None) -> None:
    fresh, old = held_by(holder, age=LEASE_SECONDS - 20), held_by(holder, age=DEAD)

    assert _rescue() == 1
    assert (job(fresh)["status"], job(old)["status"]) == ("processing", "pending")


def test_more_jobs_than_one_statement_takes_are_put_back_too() -> None:
    worker_row("dead", beat_age=DEAD)
    query(
        "INSERT INTO background_jobs (job_type, status, worker_id, started_at)"
        " SELECT 'note', 'processing', 'dead', now() FROM generate_series(1, 2100)"
    )

    assert _rescue() == 2100
    assert value("SELECT count(*) FROM background_jobs WHERE status = 'pending' AND lost_count = 1") == 2100
    assert _events()["lost"] == 2100


# --- What no worker will ever run ---


@pytest.fixture
def connection() -> Iterator[psycopg.Connection[Any]]:
    with databases.connect() as connection:
        yield connection


def test_jobs_of_a_type_that_no_live_worker_knows_fail_once_it_was_seen_for_long_enough(
    connection: psycopg.Connection[Any],
) -> None:
    worker_row("live", job_types=["note"])
    worker_row("dead", job_types=["lost_art"], beat_age=DEAD)
    query("INSERT INTO job_types (job_type) VALUES ('note'), ('mail')")
    orphans = [insert(job_type=name) for name in ("lost_art", "new", "new")]
    known = insert()
    watch = UnknownTypeWatch(patience=0.2)

    assert watch.look(connection) == 0
    time.sleep(0.25)
    late = insert(job_type="new", created_at="2100-01-01")
    assert watch.look(connection) == 3

    for orphan in orphans:
        row = job(orphan)
        assert row["status"] == "failed" and row["completed_at"] is not None
        assert row["error_message"] == (
            f"no live worker knows the job type '{row['job_type']}' (known: mail, note): add a processor for it, or "
            "name its module in JOB_QUEUE_MODULES, then retry this job"
        )
        assert [failure.error_class for failure in lookup.failures_of(orphan)] == ["UnknownJobType"]
    assert job(known)["status"] == "pending"
    assert job(late)["status"] == "pending", "a job is given as long as its type"
    assert _events()["failed"] == 3


def test_a_look_ends_in_time_for_the_next_heartbeat_however_much_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "CHUNK", 2)
    monkeypatch.setattr(rescue, "LOOK_SECONDS", 0.0)
    watch = UnknownTypeWatch(patience=0.0)
    for _ in range(7):
        insert(job_type="gone")
    with databases.connect() as connection:
        assert [watch.look(connection) for _ in range(2)] == [2, 2]
        monkeypatch.setattr(rescue, "LOOK_SECONDS", 60.0)
        assert watch.look(connection) == 3


def test_a_type_that_a_worker_learns_in_time_or_a_gap_in_the_looks_starts_the_patience_over(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(rescue, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    orphan = insert(job_type="new", created_at="2020-01-01")
    watch = UnknownTypeWatch(patience=60)
    for interruption in ("learnt", "gap"):
        watch.look(connection)
        clock[0] += 61
        if interruption == "learnt":
            worker_row("newer", job_types=["new"])
            watch.look(connection)
            query("DELETE FROM workers")
        else:
            watch.forget()
        assert watch.look(connection) == 0
    assert job(orphan)["status"] == "pending"

    clock[0] += 61
    assert watch.look(connection) == 1
