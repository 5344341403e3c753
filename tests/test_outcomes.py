"""Recording how attempts ended: fenced, all or nothing, rolled up, and many at once without deadlock."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import at_once, claimer, finish, held_by, insert, job, outcome, query, value

from models import database as databases
from models import job_queue, lookup
from models.claims import Claim, ClaimedJob
from models.histogram import bucket_of
from models.lease import release_jobs
from models.outcomes import Ending, Failure, record

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def wide_pool(configure: Callable[..., None]) -> Iterator[None]:
    """Ten connections, so that threads meet in the database and not before."""
    configure(JOB_QUEUE_CONCURRENCY=10)
    databases.renew()
    yield
    databases.renew()


def _claim(**columns: Any) -> Claim:
    insert(**columns)
    found = claimer().claim()
    assert isinstance(found, Claim)
    return found


def _total(column: str) -> float:
    return float(value(f"SELECT coalesce(sum({column}), 0) FROM job_metrics"))


def test_a_completed_job_keeps_its_result_and_when_it_ended() -> None:
    claim = _claim(error_message="it went wrong last time")
    (claimed,) = claim.jobs
    query("UPDATE background_jobs SET progress = 0.5, started_at = started_at - interval '10 seconds'")
    (earlier,) = query("SELECT started_at FROM background_jobs")[0]
    claim.jobs[0] = replace(claimed, started_at=earlier)

    assert finish(claim, result='{"sent": 1}', elapsed=4.0, task_run_id="task-1") == []

    row = job(claimed.id)
    assert (row["status"], row["result"], row["progress"], row["error_message"]) == ("completed", {"sent": 1}, 1, None)
    assert (row["completed_at"] - row["started_at"]).total_seconds() == 4, "not when the outcome was written"
    assert (row["worker_id"], row["task_run_id"], row["retry_count"]) == ("worker-1", "task-1", 0)


def test_an_attempt_cannot_have_ended_in_the_future() -> None:
    claim = _claim()

    finish(claim, elapsed=3_600.0)

    assert job(claim.jobs[0].id)["completed_at"] <= value("SELECT now()")


def test_a_retry_is_due_after_its_delay_by_the_databases_clock() -> None:
    claim = _claim(max_retries=3)
    before = value("SELECT clock_timestamp()")

    finish(claim, Ending.RETRY, delay=90.0, failure=Failure("OSError", "no route", "Traceback ..."))

    after = value("SELECT clock_timestamp()")
    row = job(claim.jobs[0].id)
    assert (row["status"], row["retry_count"], row["error_message"]) == ("pending", 1, "no route")
    assert (row["started_at"], row["completed_at"], row["worker_id"]) == (None, None, None)
    assert before <= row["scheduled_for"] - timedelta(seconds=90) <= after
    (failure,) = lookup.failures_of(row["id"])
    assert (failure.attempt, failure.error_class, failure.message, failure.traceback) == (
        1, "OSError", "no route", "Traceback ..."
    )  # fmt: skip
    assert failure.started_at == claim.jobs[0].started_at


def test_a_final_failure_says_why_and_leaves_the_retries_uncounted() -> None:
    claim = _claim(max_retries=3)

    finish(claim, Ending.FAILED, failure=Failure("PermanentError", "no such customer"))

    row = job(claim.jobs[0].id)
    assert (row["status"], row["retry_count"], row["error_message"]) == ("failed", 0, "no such customer")
    assert row["completed_at"] is not None


TAKEN_AWAY = {
    "rescued and run by another": "UPDATE background_jobs SET worker_id = 'worker-2'",
    "rescued and run again by the same": "UPDATE background_jobs SET started_at = started_at + interval '1 us'",
    "put back": "UPDATE background_jobs SET status = 'pending', worker_id = NULL, started_at = NULL",
    "cancelled": "UPDATE background_jobs SET status = 'cancelled'",
    "ended already": "UPDATE background_jobs SET status = 'completed'",
}


@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("how", TAKEN_AWAY)
def test_what_was_taken_away_is_refused_and_the_late_finisher_recorded(how: str, ending: Ending) -> None:
    claim = _claim()
    query(TAKEN_AWAY[how])
    before = job(claim.jobs[0].id)

    refused = finish(claim, ending)

    assert [each.job.id for each in refused] == [before["id"]]
    assert job(before["id"]) == before
    (failure,) = lookup.failures_of(before["id"])
    assert failure.error_class == "LeaseLost"
    assert f"finished ({ending}) after the job had been taken away" in failure.message
    assert failure.worker_id == "worker-1"
    assert value("SELECT count(*) FROM job_metrics") == 0, "somebody else counts it"


def test_a_job_deleted_meanwhile_is_refused_and_leaves_nothing() -> None:
    claim = _claim()
    query("DELETE FROM background_jobs")

    assert len(finish(claim)) == 1
    assert value("SELECT count(*) FROM job_failures") == 0


def test_a_job_that_is_being_deleted_just_now_does_not_fail_the_others() -> None:
    gone, kept = held_by("worker-1", id="gone"), held_by("worker-1", id="kept")
    query("UPDATE background_jobs SET status = 'cancelled' WHERE id = %s", gone)
    late = [outcome(_claimed(job_id)) for job_id in (gone, kept)]
    refused: list[Any] = []
    with databases.connect() as other:
        other.execute("BEGIN")
        other.execute("DELETE FROM background_jobs WHERE id = %s", [gone])
        thread = threading.Thread(target=lambda: refused.extend(record("worker-1", late)))
        thread.start()
        while not value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            time.sleep(0.005)
        other.execute("COMMIT")
    thread.join()

    assert [each.job.id for each in refused] == [gone]
    assert job(kept)["status"] == "completed"
    assert value("SELECT count(*) FROM job_failures") == 0


def test_of_a_batch_the_held_are_recorded_and_the_others_refused() -> None:
    ids = [held_by("worker-1") for _ in range(20)]
    outcomes = [outcome(_claimed(job_id)) for job_id in ids]
    for job_id in ids[::3]:
        assert job_queue.cancel_job(job_id)
    random.shuffle(outcomes)

    refused = record("worker-1", outcomes)

    assert sorted(each.job.id for each in refused) == sorted(ids[::3])
    assert [job(job_id)["status"] for job_id in ids] == [
        "cancelled" if place % 3 == 0 else "completed" for place in range(20)
    ]


def test_outcomes_are_written_all_or_none() -> None:
    good, bad = (outcome(_claimed(held_by("worker-1"))) for _ in range(2))

    with pytest.raises(psycopg.DataError):
        record("worker-1", [good, replace(bad, result="no JSON")])

    assert value("SELECT count(*) FROM background_jobs WHERE status = 'processing'") == 2
    assert value("SELECT count(*) FROM job_metrics") == 0


def _claimed(job_id: str) -> ClaimedJob:
    row = job(job_id)
    return ClaimedJob(
        id=job_id,
        payload="{}",
        priority=row["priority"],
        retry_count=row["retry_count"],
        max_retries=row["max_retries"],
        lost_count=0,
        waited=0.0,
        started_at=row["started_at"],
    )


endings = st.tuples(
    st.sampled_from(["note", "call"]), st.integers(4, 6), st.sampled_from(Ending), st.floats(0, 1e5), st.floats(0, 1e3)
)


def test_the_roll_up_is_what_happened() -> None:
    @settings(max_examples=25, database=None)
    @given(st.lists(st.lists(endings, min_size=1, max_size=8), min_size=1, max_size=4))
    def adds_up(flushes: list[list[tuple[str, int, Ending, float, float]]]) -> None:
        query("TRUNCATE background_jobs, job_metrics CASCADE")
        for flush in flushes:
            outcomes = []
            for name, priority, ending, waited, ran in flush:
                held = _claimed(held_by("worker-1", job_type=name, priority=priority))
                outcomes.append(outcome(held, ending, name=name, waited=waited, ran=ran))
            assert record("worker-1", outcomes) == []

        happened = [each for flush in flushes for each in flush]
        for ending in Ending:
            expected = Counter((name, priority) for name, priority, ended, _, _ in happened if ended is ending)
            rows = query(f"SELECT job_type, priority, sum({ending}) FROM job_metrics GROUP BY 1, 2")
            assert {(name, priority): count for name, priority, count in rows if count} == expected
        # What was put off by its processor is no attempt.
        attempts = [each for each in happened if each[2] is not Ending.SNOOZED]
        assert _total("wait_seconds") == pytest.approx(sum(each[3] for each in attempts))
        assert _total("run_seconds") == pytest.approx(sum(each[4] for each in attempts))
        for column, place in (("wait", 3), ("run", 4)):
            histogram = value(f"SELECT histogram_sum({column}) FROM job_metrics")
            assert histogram == Counter(str(bucket_of(each[place])) for each in attempts)

    adds_up()


def test_eight_threads_that_finish_mixed_batches_beside_cancels_and_releases_do_not_deadlock(wide_pool: None) -> None:
    query(
        "INSERT INTO background_jobs (job_type, priority, max_retries) SELECT 'type_' || n %% 5, 1 + n %% 10, 1000"
        " FROM generate_series(1, 4000) AS n"
    )
    query("ANALYZE background_jobs")
    names = [f"type_{number}" for number in range(5)]

    def work(number: int) -> tuple[int, Counter[str]]:
        chance, counted, refusals = random.Random(number), Counter[str](), 0
        worker = f"worker-{number}"
        claims = claimer(*names, worker=worker, most=120, fair_every=2)
        for _ in range(12):
            claim = claims.claim()
            if not isinstance(claim, Claim):
                continue
            for claimed in chance.sample(claim.jobs, len(claim.jobs) // 10):
                counted["cancelled"] += job_queue.cancel_job(claimed.id)
            outcomes = [
                outcome(claimed, chance.choice(list(Ending)), name=claim.job_type) for claimed in claim.jobs[:-5]
            ]
            chance.shuffle(outcomes)
            refused = {each.job.id for each in record(worker, outcomes)}
            refusals += len(refused)
            counted.update(each.ending for each in outcomes if each.job.id not in refused)
            release_jobs(worker)
        return refusals, counted

    def cancel_in_bulk(number: int) -> tuple[int, Counter[str]]:
        """As an operator does with a whole selection."""
        rows = [row[0] for row in query("SELECT id FROM background_jobs ORDER BY random() LIMIT 150")]
        return 0, Counter(cancelled=sum(job_queue.cancel_job(job_id) for job_id in rows))

    done = at_once(10, lambda number: work(number) if number < 8 else cancel_in_bulk(number))

    counted = sum((counter for _, counter in done), Counter[str]())
    assert {column: _total(column) for column in counted} == counted
    statuses = dict(query("SELECT status, count(*) FROM background_jobs GROUP BY status"))
    assert {name: statuses.get(name, 0) for name in ("completed", "failed", "cancelled", "processing")} == {
        "completed": counted["completed"],
        "failed": counted["failed"],
        "cancelled": counted["cancelled"],
        "processing": 0,
    }
    refused = sum(refusals for refusals, _ in done)
    assert value("SELECT count(*) FROM job_failures WHERE error_class = 'LeaseLost'") == refused
    assert counted["completed"] > 500 and counted["cancelled"] > 200


def test_time_is_the_databases_and_not_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = _claim()
    monkeypatch.setattr(time, "time", lambda: 0.0)

    finish(claim, Ending.RETRY, delay=0.0)

    assert abs((job(claim.jobs[0].id)["scheduled_for"] - datetime.now(UTC)).total_seconds()) < 60
