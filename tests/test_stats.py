"""The queue in numbers: what is pending and running from the rows, what ended from the roll-up."""

from __future__ import annotations

from typing import Any

import pytest
from support import Note, claimer, finish, insert, job_type, known, query

from models import job_queue, stats
from models.claims import Claim
from models.outcomes import Ending

pytestmark = pytest.mark.usefixtures("database")


def _claimed(most: int = 50) -> Claim:
    claim = claimer(most=most).claim()
    assert isinstance(claim, Claim)
    return claim


def test_an_empty_queue_has_only_noughts_and_no_success_rate(configure: Any) -> None:
    configure(JOB_QUEUE_CONCURRENCY=7)
    found = job_queue.get_stats()

    assert found == stats.QueueStats(0, 0, 7, 0, 0, 0, 0)
    assert found.total == 0
    assert found.success_rate is None


def test_every_status_is_counted() -> None:
    with known(job_type()):
        jobs = job_queue.add_batch([{"type": "note", "payload": Note()} for _ in range(10)])
    finish(_claimed(most=3))
    finish(_claimed(most=1), Ending.FAILED)
    _claimed(most=2)
    assert job_queue.cancel_job(jobs[-1])

    found = job_queue.get_stats()

    assert (found.queue_length, found.pending, found.processing) == (3, 3, 2)
    assert (found.completed, found.failed, found.cancelled) == (3, 1, 1)
    assert found.total == 10
    assert found.success_rate == 0.75
    assert not found.estimated


def test_a_job_that_waits_for_its_time_or_its_retry_is_pending() -> None:
    query("INSERT INTO background_jobs (job_type, scheduled_for) VALUES ('note', now() + interval '1 week')")
    insert()
    finish(_claimed(), Ending.RETRY, delay=60.0)

    found = job_queue.get_stats()

    assert (found.pending, found.processing, found.failed, found.total) == (2, 0, 0, 2)


def test_a_failed_job_that_is_put_back_is_no_longer_failed() -> None:
    failed = insert()
    finish(_claimed(), Ending.FAILED)
    assert job_queue.get_stats().failed == 1

    assert job_queue.retry_job(failed)

    found = job_queue.get_stats()
    assert (found.failed, found.pending, found.total) == (0, 1, 1)


def test_what_ended_stays_counted_when_its_rows_are_gone() -> None:
    insert()
    finish(_claimed())
    query("DELETE FROM background_jobs")

    assert job_queue.get_stats().completed == 1


def test_numbers_never_go_below_nought_when_the_roll_up_has_forgotten_the_failure() -> None:
    failed = insert()
    finish(_claimed(), Ending.FAILED)
    query("DELETE FROM job_metrics")
    assert job_queue.retry_job(failed)

    assert job_queue.get_stats().failed == 0


@pytest.mark.parametrize(("pending", "estimated"), [(20, False), (21, True)])
def test_a_long_queue_is_estimated(monkeypatch: pytest.MonkeyPatch, pending: int, estimated: bool) -> None:
    monkeypatch.setattr(stats, "EXACT_UP_TO", 20)
    query("INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, %s)", pending)
    query("ANALYZE background_jobs")

    found = job_queue.get_stats()

    assert (found.queue_length, found.estimated) == (pending, estimated)


def test_an_estimate_is_never_below_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "EXACT_UP_TO", 20)
    query("ANALYZE background_jobs")
    query("INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, 50)")

    found = job_queue.get_stats()

    assert (found.queue_length, found.estimated) == (21, True)


def test_as_a_dict_it_has_every_number_and_what_follows_from_them() -> None:
    assert stats.QueueStats(2, 1, 3, 2, 3, 1, 4, True).as_dict() == {
        "queue_length": 2, "processing": 1, "concurrency": 3, "pending": 2, "completed": 3, "failed": 1,
        "cancelled": 4, "estimated": True, "total": 11, "success_rate": 0.75,
    }
