"""Job ids: version 7 UUIDs that sort by the time they were made, in Python and in SQL alike."""

from __future__ import annotations

import time
from types import SimpleNamespace
from uuid import UUID

import pytest
from support import at_once, query

from models import ids


def _milliseconds(job_id: str) -> int:
    return UUID(job_id).int >> 80


def test_an_id_is_a_uuid_of_version_7_and_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.new_job_id()

    assert str(UUID(made)) == made
    assert (UUID(made).version, UUID(made).variant) == (7, "specified in RFC 4122")
    assert before <= _milliseconds(made) <= time.time_ns() // 1_000_000 + 1


def test_ids_sort_in_the_order_they_were_made() -> None:
    made = [ids.new_job_id() for _ in range(20_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_still_sort_when_the_clock_stands_still_or_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    clock = iter([now, now, now, now - 3_600 * 10**9, now - 1, now])
    monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: next(clock)))

    made = [ids.new_job_id() for _ in range(6)]

    assert made == sorted(set(made))


def test_ids_made_by_many_threads_at_once_differ() -> None:
    made = at_once(8, lambda _: [ids.new_job_id() for _ in range(2_000)])

    assert len({job_id for batch in made for job_id in batch}) == 16_000
    assert all(batch == sorted(batch) for batch in made)


def test_the_databases_own_ids_are_of_the_same_kind(database: str) -> None:
    before = time.time_ns() // 1_000_000
    made = [row[0] for row in query("SELECT new_job_id() FROM generate_series(1, 2000)")]

    assert len(set(made)) == 2_000
    assert {(UUID(job_id).version, UUID(job_id).variant) for job_id in made} == {(7, "specified in RFC 4122")}
    assert [_milliseconds(job_id) for job_id in made] == sorted(_milliseconds(job_id) for job_id in made)
    assert all(before - 1 <= _milliseconds(job_id) <= time.time_ns() // 1_000_000 + 1 for job_id in made)


def test_what_the_database_cannot_hold_is_no_id() -> None:
    assert ids.can_be_stored("job-1") and ids.can_be_stored("ü\U0001f600 \n")
    assert not ids.can_be_stored("job\x00") and not ids.can_be_stored("\ud800")
