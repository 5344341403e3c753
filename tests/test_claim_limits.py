"""Limits of a job type, over all workers: how many run at once, and how many start in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from support import at_once, claim_all, claimer, finish, query, value

from models import database as databases
from models.claims import Claim, ClaimedJob, NothingDue
from models.outcomes import Ending

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


@pytest.mark.parametrize("limit", [1, 7])
def test_never_more_than_max_running_run_whoever_claims(wide_pool: None, limit: int) -> None:
    _fill(300)
    _limit("note", max_running=limit)

    def work(number: int) -> int:
        claims, most, worker = claimer(worker=f"worker-{number}", most=3), 0, f"worker-{number}"
        for _ in range(12):
            found = claims.claim()
            most = max(most, value("SELECT count(*) FROM background_jobs WHERE status = 'processing'"))
            if isinstance(found, Claim):
                finish(found, Ending.COMPLETED, worker=worker)
        return most

    assert max(at_once(4, work)) <= limit
    assert value("SELECT count(*) FROM background_jobs WHERE status = 'completed'") >= limit


def test_a_type_at_its_limit_gives_way_to_the_others() -> None:
    _fill(5, "limited", priority=10)
    _fill(5, "note", priority=1)
    _limit("limited", max_running=2)
    claims = claimer("limited", "note")

    taken = [(claim.job_type, len(claim.jobs)) for claim in claim_all(claims)]

    assert taken == [("limited", 2), ("note", 5)]
    found = claims.claim()
    assert isinstance(found, NothingDue) and found.due_in is not None and found.due_in <= 0


def test_max_running_of_none_at_all_stops_a_type() -> None:
    _fill(1)
    _limit("note", max_running=0)

    assert isinstance(claimer().claim(), NothingDue)


def test_starts_per_second_are_saved_up_for_one_second_at_most() -> None:
    _fill(100)
    _limit("note", starts_per_second=10, start_tokens=0, tokens_at=_ago(3_600))

    assert len(_claimed(claimer().claim())) == 10
    # At ten a second the next start may be there already, on a slow machine.
    _limit("note", starts_per_second=0.001)
    assert isinstance(claimer().claim(), NothingDue)
    before = _ago(0.55)
    _limit("note", starts_per_second=10, start_tokens=0, tokens_at=before)
    taken = len(_claimed(claimer().claim()))
    saved = value("SELECT tokens_at FROM job_types") - before
    assert 5 <= taken == min(10, saved // timedelta(seconds=0.1))


def test_less_than_one_start_a_second_lets_one_through_at_a_time() -> None:
    _fill(3)
    _limit("note", starts_per_second=0.01, start_tokens=0, tokens_at=_ago(40))
    assert isinstance(claimer().claim(), NothingDue)
    _limit("note", start_tokens=0, tokens_at=_ago(110))

    assert len(_claimed(claimer().claim())) == 1
    assert isinstance(claimer().claim(), NothingDue)


def test_four_claimers_together_keep_to_starts_per_second(wide_pool: None) -> None:
    _fill(500)
    _limit("note", starts_per_second=20, start_tokens=0, tokens_at=_ago(10))
    began = value("SELECT clock_timestamp()")

    at_once(4, lambda n: [claimer(worker=f"worker-{n}", most=3).claim() for _ in range(40)])

    seconds = (value("SELECT clock_timestamp()") - began).total_seconds()
    assert value("SELECT count(*) FROM background_jobs WHERE status = 'processing'") <= 20 + 20 * seconds


def test_a_limit_that_is_lifted_between_the_look_and_the_claim_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(3)
    _limit("note", max_running=1)
    claims = claimer()
    take = type(claims)._take

    def lifted(self: object, *arguments: object) -> list[ClaimedJob]:
        _limit("note", max_running=None)
        return take(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(claims), "_take", lifted)

    assert len(_claimed(claims.claim())) == 3


@pytest.mark.parametrize(
    ("column", "limit"),
    [("max_running", -1), ("starts_per_second", -1), ("starts_per_second", float("nan")), ("starts_per_second", 1e9)],
)
def test_the_table_takes_no_limit_that_would_break_the_claim(column: str, limit: float) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=f"job_types_{column}"):
        _limit("note", **{column: limit})
