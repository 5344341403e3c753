"""What waits, how long already, and how long until it is done."""

from __future__ import annotations

import math

import pytest
from support import claimer, finish, held_by, insert, query, worker_row

from models import backlog, listing, store_health
from models.claims import Claim
from models.filters import JobFilter
from models.operations import Actor, pause, retry
from models.outcomes import Ending, Failure
from models.reading import reading

pytestmark = pytest.mark.usefixtures("database")

ANN = Actor("ann", "operator")


def _wait(jobs: int, seconds: float = 0.0, job_type: str = "note", priority: int = 5) -> None:
    query(
        "INSERT INTO background_jobs (job_type, priority, scheduled_for, created_at)"
        " SELECT %s, %s, now() - %s * interval '1 second', now() - interval '1 hour' FROM generate_series(1, %s)",
        job_type, priority, seconds, jobs,
    )  # fmt: skip


def test_the_backlog_is_by_type_and_priority_with_what_holds_it() -> None:
    _wait(3, 100.0)
    _wait(2, -3600.0)
    _wait(1, 5.0, priority=9)
    _wait(4, -60.0, job_type="other")
    held_by("worker-1")
    query("INSERT INTO job_types (job_type) VALUES ('note')")
    pause("note", ANN)

    rows = backlog.backlog().to_dict("records")
    oldest = backlog.oldest_pending()
    (since,) = query("SELECT extract(epoch FROM now() - min(scheduled_for))::float8 FROM background_jobs")[0]

    assert [(row["job_type"], row["priority"], row["due"], row["scheduled"], row["paused"]) for row in rows] == [
        ("note", 9, 1, 0, True), ("note", 5, 3, 2, True), ("other", 5, 0, 4, False)
    ]  # fmt: skip
    assert oldest is not None and 100 <= rows[1]["oldest_due_seconds"] <= oldest <= since
    assert math.isnan(rows[2]["oldest_due_seconds"])
    assert not any(row["capped"] for row in rows)


def test_a_count_stops_at_its_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "COUNTED_UP_TO", 10)
    _wait(11, 1.0)
    _wait(3, 1.0, priority=1)

    rows = backlog.backlog().to_dict("records")

    assert [(row["due"], row["capped"]) for row in rows] == [(10, True), (3, False)]


def test_ages_are_of_what_is_due_and_narrowed_by_type_and_priority() -> None:
    for seconds in (0.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 40_000.0, 200_000.0, -60.0):
        _wait(1, seconds)
    _wait(2, 30.0, job_type="other", priority=1)

    assert list(backlog.ages()["jobs"]) == [1, 3, 1, 1, 1, 1, 1, 1]
    assert list(backlog.ages(JobFilter(job_types=("note",)))["jobs"]) == [1] * 8
    assert list(backlog.ages(JobFilter(priorities=(1,)))["jobs"]) == [0, 2, 0, 0, 0, 0, 0, 0]


def test_the_next_scheduled_come_soonest_first() -> None:
    for seconds in (-7200.0, -3600.0, 10.0):
        _wait(1, seconds)

    frame = backlog.next_scheduled()

    # Hours, and less the moment that has passed since.
    assert [math.ceil(each / 3600) for each in frame["due_in_seconds"]] == [1, 2]


def test_a_queue_that_gets_shorter_says_how_long_it_takes_as_a_range() -> None:
    _wait(100, 1.0)
    query(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed)"
        " SELECT date_trunc('minute', now()) - n * interval '1 minute', 1, 'note', 5, 'w',"
        " CASE WHEN n < 5 THEN 120 ELSE 60 END FROM generate_series(0, 14) AS n"
    )

    estimate = backlog.drain_time()

    assert estimate.arrivals_per_second == 0
    assert 1.5 < estimate.completions_per_second < 2.5
    assert estimate.low_seconds is not None and estimate.high_seconds is not None
    assert 100 / 2.5 < estimate.low_seconds < estimate.high_seconds < 100 / 1.0


def test_a_queue_that_does_not_get_shorter_says_why() -> None:
    assert backlog.drain_time().note == "nothing is due"
    _wait(100, 1.0)
    assert backlog.drain_time().note == "nothing has ended in the last 15 minutes"
    insert()
    claim = claimer(most=1).claim()
    assert isinstance(claim, Claim)
    finish(claim)
    query("INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, 50)")

    estimate = backlog.drain_time()

    assert (estimate.low_seconds, estimate.note) == (None, "jobs arrive as fast as they end, or faster")
    assert estimate.arrivals_per_second == pytest.approx(51 / 300)


@pytest.mark.parametrize("scheduled", [0, 6000])
def test_beyond_the_bound_what_is_scheduled_for_later_does_not_count_as_due(
    scheduled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "SAMPLED_PAGES", 30)  # of some hundred
    query(
        "INSERT INTO background_jobs (job_type, scheduled_for) SELECT 'note', now()"
        " + CASE WHEN n %% %s = 0 THEN interval '-1 hour' ELSE interval '1 day' END FROM generate_series(1, %s) AS n",
        1 + scheduled // 2000, 2000 + scheduled,
    )  # fmt: skip
    query("ANALYZE background_jobs")

    with reading() as connection:
        assert backlog.count_due(connection, most=2000) == 2000
        assert backlog.count_due(connection, most=500) == pytest.approx(2000, rel=0.1)
        assert backlog.count_pending(connection, most=500) == (2000 + scheduled, True)


def test_an_estimate_is_never_below_what_was_counted() -> None:
    query("ANALYZE background_jobs")  # of none
    _wait(50, 1.0)

    with reading() as connection:
        assert backlog.count_due(connection, most=10) >= 11


def test_what_runs_is_counted_by_type_and_priority() -> None:
    held_by("worker-1")
    held_by("worker-1", priority=9)
    held_by("worker-1", job_type="other")
    _wait(3)

    assert backlog.running() == 3
    assert backlog.running(JobFilter(job_types=("note",))) == 2
    assert backlog.running(JobFilter(job_types=("note",), priorities=(9,))) == 1


def test_what_runs_is_listed_with_what_is_wrong_with_it() -> None:
    worker_row("alive")
    worker_row("silent", beat_age=60)
    long = held_by("alive", age=100, progress=0.5, progress_note="half")
    lost = held_by("silent", age=50)
    orphan = held_by("nobody", age=40)
    query(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed, run)"
        " VALUES (date_trunc('minute', now()), 1, 'note', 5, 'w', 10, '{\"40\": 10}')"
    )

    rows = {row["id"]: row for row in listing.active_jobs().to_dict("records")}
    (since,) = query("SELECT extract(epoch FROM now() - min(started_at))::float8 FROM background_jobs")[0]

    assert list(rows) == [long, lost, orphan]
    assert [row["heartbeat_lost"] for row in rows.values()] == [False, True, True]
    assert all(row["slower_than_p95"] for row in rows.values())
    # Half of it took 100 s.
    assert 100 <= rows[long]["eta_seconds"] <= since
    assert (rows[long]["progress_note"], rows[lost]["progress_note"]) == ("half", None)
    assert {row["worker_id"]: (row["state"], row["running"]) for row in listing.workers().to_dict("records")} == {
        "alive": ("working", 1), "silent": ("silent", 1)
    }  # fmt: skip


def test_groups_tell_their_size_their_newest_error_and_how_retries_went() -> None:
    for number in range(3):
        insert()
        claim = claimer(most=1).claim()
        assert isinstance(claim, Claim)
        finish(claim, Ending.FAILED, failure=Failure("TimeoutError", f"no answer in {number} s"))
    insert(status="failed")
    ids = [row[0] for row in query("SELECT id FROM background_jobs WHERE fingerprint <> '' ORDER BY id LIMIT 2")]
    retry(ids, ANN)
    claim = claimer(most=1).claim()
    assert isinstance(claim, Claim)
    finish(claim, Ending.FAILED, failure=Failure("TimeoutError", "no answer in 9 s"))

    first, second = listing.failed_groups().to_dict("records")

    assert (first["fingerprint"], first["jobs"]) == ("note:TimeoutError:no answer in * s", 2)
    assert (first["error_class"], first["message"]) == ("TimeoutError", "no answer in 9 s")
    assert (first["retried_since"], first["failed_again"]) == (2, 1)
    assert first["first_seen"] < first["last_seen"] and len(first["trend"]) == 24
    assert (second["fingerprint"], second["jobs"], second["error_class"]) == ("", 1, "")


def test_the_stores_health_names_what_makes_it_slow() -> None:
    worker_row("silent", beat_age=60)

    health = store_health.health()

    assert {"background_jobs", "job_metrics"} <= set(health.tables["table"])
    # A table without rows or long values has no pages of its own yet, and an index has one.
    assert (health.tables["bytes"] + health.tables["index_bytes"] > 0).all()
    assert health.missed_heartbeats == ["silent"]
    assert health.warnings == ["no heartbeat from silent"]
    assert abs(health.clock_skew_seconds) < 1.0
