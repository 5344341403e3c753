"""Reading jobs, their failures, the declared types and the live workers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support import claimer, finish, insert, job_type, query, worker_row

from models import lookup, paging, registry
from models.claims import Claim
from models.filters import JobFilter
from models.outcomes import Ending

pytestmark = pytest.mark.usefixtures("database")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def _add(minute: int, **columns: object) -> str:
    return insert(created_at=BEGIN + timedelta(minutes=minute), **columns)


def _ids(**conditions: object) -> list[str]:
    return [found.id for found in lookup.newest_jobs(**conditions)]  # type: ignore[arg-type]


def test_the_newest_jobs_come_first_and_only_as_many_as_asked_for() -> None:
    jobs = [_add(minute) for minute in range(25)]

    assert _ids() == jobs[:4:-1]
    assert _ids(limit=2) == [jobs[24], jobs[23]]
    assert len(_ids(limit=1000)) == 25


def test_jobs_are_found_by_status_type_and_age_together() -> None:
    first = _add(0, status="failed")
    second = _add(1, status="failed")
    _add(2, status="completed")
    other = _add(3, job_type="other", status="failed")

    assert _ids(status="failed") == [other, second, first]
    assert _ids(job_type="other") == [other]
    assert _ids(status="failed", job_type="note") == [second, first]
    assert _ids(status="failed", before=BEGIN + timedelta(minutes=1)) == [first]
    assert _ids(job_type="there is none") == []


def test_a_status_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="^status: expected one of pending, processing, .*cancelled, got 'done'$"):
        lookup.newest_jobs(status="done")


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"^limit: expected 1 to 1000, got {limit}$"):
        lookup.newest_jobs(limit=limit)


def test_one_job_is_found_with_its_payload_and_times() -> None:
    job_id = _add(0, payload='{"text": "ü"}', priority=9)

    found = lookup.find_job(job_id)

    assert found is not None
    assert (found.id, found.payload, found.priority, found.status) == (job_id, {"text": "ü"}, 9, "pending")
    assert found.created_at == BEGIN


@pytest.mark.parametrize("job_id", ["", "there is none", "a\x00b", "lone \ud800 surrogate"])
def test_an_id_there_is_not_finds_nothing(job_id: str) -> None:
    assert lookup.find_job(job_id) is None
    assert lookup.failures_of(job_id) == []


def test_the_failures_of_a_job_come_oldest_first_and_only_its_own() -> None:
    job_id = insert()
    insert(priority=1)
    for ending in (Ending.RETRY, Ending.FAILED):
        claim = claimer(most=1).claim()
        assert isinstance(claim, Claim)
        finish(claim, ending)

    failures = lookup.failures_of(job_id)

    assert [failure.attempt for failure in failures] == [1, 2]
    assert {failure.job_id for failure in failures} == {job_id}
    assert failures[0].error_class == "RuntimeError"


def test_declared_types_come_by_name() -> None:
    registry.declare({name: job_type(name, max_retries=retries) for name, retries in {"b": 7, "a": 1, "c": 0}.items()})

    assert [(row.job_type, row.max_retries) for row in lookup.declared_types()] == [("a", 1), ("b", 7), ("c", 0)]


def test_workers_are_listed_until_they_sign_off_with_the_age_of_their_last_beat() -> None:
    worker_row("idle", waiting=True, beat_age=2)
    worker_row("silent", beat_age=100, stop_requested=True)
    worker_row("gone", beat_age=1)
    query("UPDATE workers SET stopped_at = now() WHERE worker_id = 'gone'")

    workers = {row["worker_id"]: row for row in lookup.live_workers()}

    assert set(workers) == {"idle", "silent"}
    assert (workers["idle"]["host"], workers["idle"]["waiting"], workers["silent"]["waiting"]) == ("here", True, False)
    assert (workers["idle"]["stop_requested"], workers["silent"]["stop_requested"]) == (False, True)
    assert 2 <= workers["idle"]["beat_age_seconds"] < workers["silent"]["beat_age_seconds"]
    assert workers["silent"]["beat_age_seconds"] >= 100


def test_pages_of_a_rare_type_among_lots_added_at_once_have_each_job_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "EXAMINED", 7)
    monkeypatch.setattr(paging, "SMALL_SLICE", 0)
    monkeypatch.setattr(paging, "MOST_LOOKS", 2)
    for minute in range(6):
        for number in range(20):
            _add(minute, job_type="rare" if (minute + number) % 9 == 0 else "note")
    rows = query("SELECT id FROM background_jobs WHERE job_type = 'rare' ORDER BY created_at DESC, id DESC")
    wanted = [row[0] for row in rows]

    found: list[str] = []
    cursor: str | None = None
    while True:
        page = paging.page(JobFilter(job_types=("rare",)), cursor, limit=2)
        found.extend(page.frame["id"])
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == wanted
