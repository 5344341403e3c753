"""Retrying many jobs at once: what is taken and what is not, the rate, stopping, dying half-way, and the undo."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from support import at_once, claim_all, claimer, finish, held_by, insert, job, query, value

from models import bulk, metrics, operations, stats
from models.claims import Claim
from models.filters import JobFilter, Period
from models.operations import Actor
from models.outcomes import Ending, Failure

pytestmark = pytest.mark.usefixtures("database")

ANN, VIEWER = Actor("ann", "operator"), Actor("vera", "viewer")


def fail(jobs: int, message: str = "no answer", **columns: Any) -> list[str]:
    """That many jobs that failed for good, by plain SQL, but as `finish_jobs` leaves them; their ids."""
    columns = {"job_type": "note", "priority": 5, **columns}
    names = ", ".join(columns)
    marks = ", ".join(["%s"] * len(columns))
    rows = query(
        f"INSERT INTO background_jobs ({names}, status, retry_count, started_at, completed_at, error_message,"
        f" worker_id, fingerprint) SELECT {marks}, 'failed', 3, now() - interval '1 minute',"
        " now() - n * interval '1 ms', %s, 'w', %s FROM generate_series(1, %s) AS n RETURNING id",
        *columns.values(), message, f"{columns['job_type']}:RuntimeError:{message}", jobs,
    )  # fmt: skip
    return [row[0] for row in rows]


def retry_all(filter: JobFilter = JobFilter(), rate: float | None = None) -> bulk.BulkProgress:  # noqa: B008
    *_, last = bulk.run_bulk(*bulk.create_bulk_retry(filter, rate, ANN))
    return last


def statuses() -> dict[str, int]:
    return dict(query("SELECT status, count(*) FROM background_jobs GROUP BY status"))


def test_all_failed_jobs_of_any_number_are_retried_and_nothing_else() -> None:
    fail(1500)
    fail(700, "another error")
    others = [insert(), insert(status="completed"), insert(status="cancelled"), held_by("worker-1")]
    before = [job(each) for each in others]

    progress = retry_all()

    assert (progress.state, progress.total, progress.done, progress.skipped) == ("done", 2200, 2200, 0)
    assert statuses() == {"pending": 2201, "completed": 1, "cancelled": 1, "processing": 1}
    assert [job(each) for each in others] == before


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"job_types": ("note",)}, 30),
        ({"job_types": ("other",), "priorities": (9,)}, 5),
        ({"text": "ANOTHER"}, 7),
        ({"text": "100% sure_"}, 0),
        ({"fingerprint": "note:RuntimeError:no answer"}, 23),
        ({"fingerprint": "there is none"}, 0),
        ({"statuses": ("failed",)}, 35),
    ],
)
def test_only_what_matches_is_retried_and_the_preview_says_how_many(filter: dict[str, Any], expected: int) -> None:
    fail(23)
    fail(7, "another error")
    fail(5, job_type="other", priority=9)
    fail(0)

    assert bulk.preview_retry(JobFilter(**filter)).jobs == expected
    assert retry_all(JobFilter(**filter)).done == expected
    assert statuses().get("pending", 0) == expected


def test_only_what_failed_in_the_period_is_retried() -> None:
    old, new = fail(2), fail(3)
    query("UPDATE background_jobs SET completed_at = now() - interval '2 days' WHERE id = ANY (%s)", old)

    now = metrics.database_now()
    assert retry_all(JobFilter(period=Period.last(24, now + timedelta(minutes=1)))).done == 3
    assert {job(each)["status"] for each in new} == {"pending"}
    assert {job(each)["status"] for each in old} == {"failed"}


def test_a_job_failed_by_plain_sql_alone_is_retried_too() -> None:
    job_id = insert(status="failed")

    assert bulk.preview_retry(JobFilter()).jobs == 1
    assert retry_all().done == 1
    assert job(job_id)["status"] == "pending"


def test_a_rate_spreads_the_jobs_evenly_over_all_chunks() -> None:
    fail(2500)

    retry_all(rate=100.0)

    chunks = query(
        "SELECT updated_at, array_agg(scheduled_for ORDER BY scheduled_for) FROM background_jobs"
        " GROUP BY updated_at ORDER BY updated_at"
    )
    assert [len(times) for _, times in chunks] == [1000, 1000, 500]
    began = value("SELECT started_at FROM bulk_actions")
    for number, (written, times) in enumerate(chunks):
        # A chunk that was written after its time had come begins when it was.
        begins = max(written, began + timedelta(seconds=10 * number))
        late = [(due - begins).total_seconds() - place / 100 for place, due in enumerate(times)]
        assert max(map(abs, late)) < 0.001


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_rate_that_is_none_is_refused_before_anything_is_done(rate: float) -> None:
    fail(1)
    with pytest.raises(ValueError, match="^rate: expected"):
        bulk.begin_bulk_retry(JobFilter(), rate, ANN)
    assert statuses() == {"failed": 1}


def test_a_filter_for_other_than_failed_jobs_is_refused() -> None:
    with pytest.raises(ValueError, match="only failed jobs are retried in bulk, got completed"):
        bulk.begin_bulk_retry(JobFilter(statuses=("completed",)), None, ANN)


def test_what_fails_again_after_the_action_began_is_left_to_the_next() -> None:
    fail(3)
    action_id, runner = bulk.create_bulk_retry(JobFilter(), None, ANN)
    query("UPDATE background_jobs SET completed_at = now() WHERE id = (SELECT min(id) FROM background_jobs)")

    *_, last = bulk.run_bulk(action_id, runner)

    assert (last.done, statuses()) == (2, {"pending": 2, "failed": 1})


def test_of_jobs_with_one_unique_key_one_comes_back_and_none_beside_a_live_one() -> None:
    fail(3, unique_key="once")
    fail(2, unique_key="taken")
    insert(unique_key="taken")

    progress = retry_all()

    assert (progress.done, progress.skipped) == (1, 4)
    assert statuses() == {"pending": 2, "failed": 4}


def test_a_begun_action_goes_on_by_itself_and_is_listed_with_who_and_what() -> None:
    fail(1200)

    action_id = operations.begin_bulk_retry(JobFilter(job_types=("note",)), 50.0, ANN)

    while bulk.find_bulk(action_id).state == "running":
        time.sleep(0.02)
    (row,) = operations.bulk_actions().to_dict("records")
    assert (row["id"], row["who"], row["state"], row["done"], row["total"]) == (action_id, "ann", "done", 1200, 1200)
    assert (row["filter"], row["rate_per_second"]) == ({"job_types": ["note"]}, 50.0)
    assert query("SELECT who, action FROM audit_log ORDER BY id") == [("ann", "bulk_retry"), ("ann", "bulk_retry_done")]


def test_a_stopped_action_leaves_the_rest_failed_and_can_go_on_where_it_was() -> None:
    fail(2500)
    action_id, runner = bulk.create_bulk_retry(JobFilter(), None, ANN)
    running = bulk.run_bulk(action_id, runner)
    next(running)

    assert operations.stop_bulk(action_id, ANN) is True

    assert next(running).state == "stopped"
    assert list(running) == []
    assert statuses() == {"failed": 1500, "pending": 1000}
    assert operations.stop_bulk(action_id, ANN) is False

    assert operations.resume_bulk(action_id, ANN) is True
    while bulk.find_bulk(action_id).state == "running":
        time.sleep(0.02)
    assert statuses() == {"pending": 2500}
    assert bulk.find_bulk(action_id).done == 2500
    assert operations.resume_bulk(action_id, ANN) is False


def test_an_action_whose_process_died_shows_as_interrupted_and_another_goes_on_once() -> None:
    fail(2500)
    action_id, dead = bulk.create_bulk_retry(JobFilter(), None, ANN)
    next(bulk.run_bulk(action_id, dead))
    assert operations.resume_bulk(action_id, ANN) is False, "it may still be alive"
    query("UPDATE bulk_actions SET updated_at = now() - interval '31 seconds'")
    assert bulk.find_bulk(action_id).state == "interrupted"

    resumed = at_once(2, lambda number: operations.resume_bulk(action_id, ANN))

    assert sorted(resumed) == [False, True]
    while bulk.find_bulk(action_id).state == "running":
        time.sleep(0.02)
    assert (bulk.find_bulk(action_id).done, statuses()) == (2500, {"pending": 2500})
    # The dead one was only slow: it finds that it is no longer its own, and ends.
    assert len(list(bulk.run_bulk(action_id, dead))) == 1


def test_undoing_gives_every_job_back_as_it_was() -> None:
    fail(1200)
    fail(1, "by hand", priority=1, lost_count=2, progress=0.5, progress_note="half")
    cancelled = insert(status="cancelled", completed_at=datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    columns = "id, status, retry_count, lost_count, scheduled_for, started_at, completed_at, error_message, worker_id"
    columns += ", progress, progress_note, fingerprint"
    before = query(f"SELECT {columns} FROM background_jobs ORDER BY id")
    action_id, runner = bulk.create_bulk_retry(JobFilter(), 1.0, ANN)
    list(bulk.run_bulk(action_id, runner))
    chosen = operations.retry([cancelled], ANN)
    assert chosen.action_id is not None

    result = operations.undo(action_id, ANN)
    operations.undo(chosen.action_id, ANN)

    assert (result.done, result.skipped, result.text) == (1201, 0, "1,201 taken back")
    assert query(f"SELECT {columns} FROM background_jobs ORDER BY id") == before
    assert bulk.find_bulk(action_id).state == "undone"
    assert stats.get_stats().failed == 0, "as before: the roll-up never saw these fail"
    assert operations.undo(action_id, ANN).done == 0
    assert query("SELECT who, target FROM audit_log WHERE action = 'undo' ORDER BY id") == [
        ("ann", action_id), ("ann", chosen.action_id)
    ]  # fmt: skip


@pytest.mark.parametrize("touched", ["claimed", "given back", "tried and to be retried", "cancelled"])
def test_what_has_started_or_was_touched_since_is_not_taken_back(touched: str) -> None:
    fail(3)
    action_id, runner = bulk.create_bulk_retry(JobFilter(), None, ANN)
    list(bulk.run_bulk(action_id, runner))
    if touched == "cancelled":
        operations.cancel([value("SELECT min(id) FROM background_jobs")], ANN)
    else:
        claim = claimer(most=1).claim()
        assert isinstance(claim, Claim)
    if touched == "given back":
        from models.lease import release_jobs

        release_jobs("worker-1")
    if touched == "tried and to be retried":
        finish(claim, Ending.RETRY)

    result = operations.undo(action_id, ANN)

    assert (result.done, result.skipped, result.text) == (2, 1, "2 taken back, 1 has started already")
    assert statuses()["failed"] == 2


def test_an_undo_beside_workers_takes_back_each_job_or_lets_it_run_never_both() -> None:
    fail(3000)
    action_id, runner = bulk.create_bulk_retry(JobFilter(), None, ANN)
    list(bulk.run_bulk(action_id, runner))
    ran: list[str] = []
    undone = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            taken = operations.undo(action_id, ANN).done
            undone.set()
            return taken
        claims = claimer(worker=f"worker-{number}", most=20)
        mine = 0
        while not undone.is_set():
            claim = claims.claim()
            if isinstance(claim, Claim):
                assert finish(claim, worker=f"worker-{number}") == []
                ran.extend(each.id for each in claim.jobs)
                mine += len(claim.jobs)
        return mine

    taken, *worked = at_once(3, work)

    ran_late = [each.id for claim in claim_all(claimer(most=1000)) for each in claim.jobs]
    assert len(set(ran)) == len(ran) == sum(worked)
    assert taken + len(ran) + len(ran_late) == 3000
    assert ran_late == [], "an undo that is done leaves nothing waiting"
    assert statuses() == {key: count for key, count in {"failed": taken, "completed": len(ran)}.items() if count}


def test_undoing_a_running_action_stops_it_first() -> None:
    fail(2500)
    action_id, runner = bulk.create_bulk_retry(JobFilter(), 1.0, ANN)
    running = bulk.run_bulk(action_id, runner)
    next(running)

    assert operations.undo(action_id, ANN).done == 1000
    assert next(running).state == "undone"
    assert statuses() == {"failed": 2500}


def test_a_retry_of_the_same_jobs_by_another_is_not_the_first_ones_to_undo() -> None:
    ids = fail(2)
    first = operations.retry(ids, ANN)
    claim = claimer().claim()
    assert isinstance(claim, Claim)
    finish(claim, Ending.FAILED)
    second = operations.retry(ids, ANN)
    assert first.action_id and second.action_id

    assert operations.undo(first.action_id, ANN).done == 0
    assert operations.undo(second.action_id, ANN).done == 2


def test_the_preview_warns_when_the_last_retries_failed_again() -> None:
    fail(4)
    fresh = bulk.preview_retry(JobFilter())
    assert (fresh.failed_again_share, fresh.warning) == (None, None)
    retry_all()
    claim = claimer(most=3).claim()
    assert isinstance(claim, Claim)
    finish(claim, Ending.FAILED, failure=Failure("RuntimeError", "no answer"))

    preview = bulk.preview_retry(JobFilter())

    assert (preview.jobs, preview.groups, preview.failed_again_share) == (3, 1, 0.75)
    assert "Of the 4 jobs of these errors that were retried last, 3 failed again" in str(preview.warning)


def test_the_numbers_of_the_queue_follow_a_retry_and_its_undo() -> None:
    query("INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, 3)")
    claim = claimer().claim()
    assert isinstance(claim, Claim)
    finish(claim, Ending.FAILED)
    action_id, runner = bulk.create_bulk_retry(JobFilter(), None, ANN)
    list(bulk.run_bulk(action_id, runner))
    assert (stats.get_stats().failed, stats.get_stats().pending) == (0, 3)

    operations.undo(action_id, ANN)

    assert (stats.get_stats().failed, stats.get_stats().pending) == (3, 0)


def test_a_viewer_changes_nothing() -> None:
    ids = fail(2)
    live = insert()
    query("INSERT INTO job_types (job_type) VALUES ('note')")
    action_id, runner = bulk.create_bulk_retry(JobFilter(text="nothing has this"), None, ANN)
    list(bulk.run_bulk(action_id, runner))
    before = query("SELECT * FROM audit_log")

    for attempt in (
        lambda: operations.retry(ids, VIEWER),
        lambda: operations.cancel([live], VIEWER),
        lambda: operations.pause("note", VIEWER),
        lambda: operations.resume("note", VIEWER),
        lambda: operations.set_limits("note", max_running=0, actor=VIEWER),
        lambda: operations.begin_bulk_retry(JobFilter(), None, VIEWER),
        lambda: operations.stop_bulk(action_id, VIEWER),
        lambda: operations.resume_bulk(action_id, VIEWER),
        lambda: operations.undo(action_id, VIEWER),
    ):
        with pytest.raises(PermissionError, match="expected the operator role, and 'vera' has the role 'viewer'"):
            attempt()

    assert statuses() == {"failed": 2, "pending": 1}
    assert query("SELECT paused, max_running FROM job_types") == [(False, None)]
    assert query("SELECT * FROM audit_log") == before


@pytest.mark.parametrize("act", [operations.undo, operations.stop_bulk, operations.resume_bulk])
@pytest.mark.parametrize("action_id", ["", "no such", "a\x00b"])
def test_an_action_there_is_not_is_said_so(act: Any, action_id: str) -> None:
    with pytest.raises(LookupError, match="there is none"):
        act(action_id, ANN)


def test_a_hundred_thousand_are_retried_and_taken_back() -> None:
    for number in range(4):
        fail(25_000, f"error {number}")

    action_id, runner = bulk.create_bulk_retry(JobFilter(), 1000.0, ANN)
    *_, last = bulk.run_bulk(action_id, runner)
    assert (last.done, statuses()) == (100_000, {"pending": 100_000})

    assert operations.undo(action_id, ANN).done == 100_000
    assert statuses() == {"failed": 100_000}
