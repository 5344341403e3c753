"""Claiming: which jobs a free slot takes, in which order, and that each goes to one worker only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import at_once, claim_all, claimer, insert, job, query, value

from models import database as databases
from models.claims import Claim, ClaimedJob, NothingDue
from models.door import PAYLOAD_LIMIT_BYTES
from models.sql import statement

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def wide_pool(configure: Callable[..., None]) -> Iterator[None]:
    """Eight connections, so that eight claimers meet in the database and not before."""
    configure(JOB_QUEUE_CONCURRENCY=8)
    databases.dispose()
    yield
    databases.dispose()


def _ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def _fill(jobs: int, name: str = "note", *, priority: int = 5) -> None:
    query(
        "INSERT INTO background_jobs (job_type, priority, scheduled_for)"
        " SELECT %s, %s, now() - n * interval '1 second' FROM generate_series(1, %s) AS n",
        name,
        priority,
        jobs,
    )


def _limit(name: str, **columns: object) -> None:
    assignments = ", ".join(f"{column} = %s" for column in columns)
    query("INSERT INTO job_types (job_type) VALUES (%s) ON CONFLICT DO NOTHING", name)
    query(f"UPDATE job_types SET {assignments} WHERE job_type = %s", *columns.values(), name)


def _claimed(found: Claim | NothingDue) -> list[ClaimedJob]:
    assert isinstance(found, Claim), found
    return found.jobs


def test_the_most_urgent_comes_first_and_of_equals_what_has_waited_longest() -> None:
    @settings(max_examples=30, database=None)
    @given(st.lists(st.tuples(st.integers(1, 10), st.integers(1, 9999)), min_size=1, max_size=12), st.integers(1, 5))
    def in_order(jobs: list[tuple[int, int]], most: int) -> None:
        query("TRUNCATE background_jobs CASCADE")
        now = datetime.now(UTC)
        added = {insert(priority=job[0], scheduled_for=now - timedelta(seconds=job[1])): job for job in jobs}

        claims = claim_all(claimer(most=most))

        assert [added[claimed.id] for claim in claims for claimed in claim.jobs] == sorted(jobs, reverse=True)
        assert all(len(claim.jobs) <= most for claim in claims)

    in_order()


def test_a_claimed_job_is_its_workers_and_says_so() -> None:
    job_id = insert(payload='{"text": "x"}', retry_count=2, scheduled_for=_ago(60), error_message="last time")

    (claimed,) = _claimed(claimer(worker="worker-7").claim("flow-run-1"))

    row = job(job_id)
    assert (row["status"], row["worker_id"], row["flow_run_id"]) == ("processing", "worker-7", "flow-run-1")
    assert row["started_at"] == claimed.started_at == row["updated_at"]
    assert (claimed.id, claimed.attempt, claimed.priority, claimed.max_retries) == (job_id, 3, 5, 3)
    assert json.loads(claimed.payload or "") == {"text": "x"}
    assert claimed.waited == (row["started_at"] - row["scheduled_for"]).total_seconds() >= 60
    assert row["error_message"] == "last time", "what went wrong is shown until it goes right"


def test_a_claim_is_of_one_type_the_one_with_the_most_urgent_job() -> None:
    for name, priority in (("note", 5), ("call", 9), ("note", 10), ("call", 8)):
        insert(job_type=name, priority=priority)

    claims = claim_all(claimer("note", "call", "mail"))

    assert [(claim.job_type, [claimed.priority for claimed in claim.jobs]) for claim in claims] == [
        ("note", [10, 5]),
        ("call", [9, 8]),
    ]


def test_what_is_not_due_pending_or_known_is_left() -> None:
    insert(scheduled_for=_ago(-600))
    insert(job_type="unknown")
    for status in ("processing", "completed", "failed", "cancelled"):
        insert(status=status)

    found = claimer().claim()

    assert isinstance(found, NothingDue)
    assert found.due_in is not None and 500 < found.due_in <= 600


def test_nothing_due_says_when_something_is() -> None:
    assert claimer("note", "call").claim() == NothingDue(None)
    insert(priority=10, scheduled_for=_ago(-5000))
    insert(job_type="call", priority=1, scheduled_for=_ago(-2000))
    insert(job_type="held", scheduled_for=_ago(-1000))
    _limit("held", paused=True)

    found = claimer("note", "call", "held").claim()

    assert isinstance(found, NothingDue)
    assert found.due_in is not None and 1500 < found.due_in <= 2000


def test_a_hold_is_due_when_it_ends() -> None:
    insert(priority=10)
    _limit("note", held_until=_ago(-1000))

    found = claimer().claim()

    assert isinstance(found, NothingDue)
    assert found.due_in is not None and 900 < found.due_in <= 1000
    assert claimer().due_within(1000) and not claimer().due_within(900)


@pytest.mark.parametrize("hold", [{"paused": True}, {"held_until": "2999-01-01"}, {"held_until": "infinity"}])
def test_a_paused_or_held_type_is_passed_over(hold: dict[str, object]) -> None:
    insert(job_type="held", priority=10)
    insert(job_type="note", priority=1)
    _limit("held", **hold)
    claims = claimer("held", "note")

    assert [claim.job_type for claim in claim_all(claims)] == ["note"]
    found = claims.claim()
    assert isinstance(found, NothingDue) and (found.due_in is None) == (hold != {"held_until": "2999-01-01"})
    _limit("held", paused=False, held_until=None)
    assert [claim.job_type for claim in claim_all(claims)] == ["held"]


def test_a_hold_that_has_run_out_holds_nothing() -> None:
    insert()
    _limit("note", held_until=_ago(1))

    assert _claimed(claimer().claim())


def test_eight_claimers_share_4000_jobs_and_each_goes_to_one(wide_pool: None) -> None:
    for name in ("note", "call"):
        _fill(1_000, name, priority=5)
        _fill(1_000, name, priority=7)

    claims = at_once(8, lambda n: claim_all(claimer("note", "call", worker=f"worker-{n}", most=37, fair_every=3)))

    taken = Counter(claimed.id for claimed_by_one in claims for claim in claimed_by_one for claimed in claim.jobs)
    assert len(taken) == 4_000
    assert set(taken.values()) == {1}
    assert value("SELECT count(*) FROM background_jobs WHERE status <> 'processing'") == 0


def test_a_claim_locks_the_rows_it_takes_and_no_others() -> None:
    for priority in (9, 5):
        _fill(5, priority=priority)
    with databases.connect() as other:
        other.execute("BEGIN")
        values = {"job_type": "note", "priorities": list(range(10, 0, -1)), "most": 7, "worker_id": "other"}
        values |= {"flow_run_id": None, "alone_after": 2, "payload_limit": 100}
        other.execute(statement("along_the_indexes"))
        theirs = {row[0] for row in other.execute(statement("claim_jobs"), values)}

        mine = {claimed.id for claimed in _claimed(claimer().claim())}
        found = claimer().claim()
        other.execute("ROLLBACK")

    assert (len(theirs), len(mine)) == (7, 3)
    assert not mine & theirs
    assert isinstance(found, NothingDue)
    assert found.due_in is not None and found.due_in <= 0, "there is something, others are taking it"
    assert {claimed.id for claimed in _claimed(claimer().claim())} == theirs


def test_a_job_that_was_lost_twice_runs_alone() -> None:
    insert(id="first", scheduled_for=_ago(9))
    insert(id="lost-once", scheduled_for=_ago(8), lost_count=1)
    insert(id="suspect", scheduled_for=_ago(7), lost_count=2)
    insert(id="worse", scheduled_for=_ago(6), lost_count=4)
    insert(id="last", scheduled_for=_ago(5))

    claims = claim_all(claimer())

    assert [([claimed.id for claimed in claim.jobs], claim.alone) for claim in claims] == [
        (["first", "lost-once", "last"], False),
        (["suspect"], True),
        (["worse"], True),
    ]


def test_a_payload_over_the_limit_does_not_reach_the_worker() -> None:
    room = PAYLOAD_LIMIT_BYTES - len('{"text": ""}')
    insert(id="fits", payload=json.dumps({"text": "x" * room}), priority=9)
    insert(id="too-large", payload=json.dumps({"text": "x" * (room + 1)}), priority=8)

    fits, too_large = _claimed(claimer().claim())

    assert fits.payload is not None and len(fits.payload) == PAYLOAD_LIMIT_BYTES
    assert too_large.payload is None


def test_due_within_sees_what_runs_and_what_is_due_soon() -> None:
    claims = claimer("note", "held")
    assert not claims.due_within(1e9)
    insert(job_type="held")
    insert(job_type="unknown")
    _limit("held", paused=True)
    assert not claims.due_within(1e9)
    insert(scheduled_for=_ago(-1000))
    assert claims.due_within(1001) and not claims.due_within(900)
    query("DELETE FROM background_jobs WHERE job_type = 'note'")
    insert(status="processing")
    assert claims.due_within(0)
