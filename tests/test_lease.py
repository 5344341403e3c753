"""A worker's lease: its beats, what it learns by them, whom it may rescue, and how it is stopped.

The constants of `models.lease` are shortened (a turn takes 10 ms instead of 1 s, a beat is due after 50 ms instead of
5 s); what must not come too early is judged by the database's own times, not by how long a test took.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import pytest
from support import claimer, held_by, insert, job, query, value, worker_row

from models import lease, lookup
from models.claims import Claim
from models.lease import Lease, release_jobs, request_stop
from models.rescue import LEASE_SECONDS, UnknownTypeWatch
from tests.running import until

pytestmark = pytest.mark.usefixtures("database")

DEAD = LEASE_SECONDS + 5


class Worker:
    """A lease with its constants shortened, and what it was told."""

    def __init__(self) -> None:
        self.responsive, self.asked, self.stops = True, 0, 0
        self.held, self.lost = set[str](), set[str]()
        self.lease = Lease(
            worker_id="mine",
            job_types=["note"],
            responsive=self._answers,
            held_jobs=lambda: list(self.held),
            on_stop=self._stop,
            on_lost=self._lose,
        )

    def _answers(self) -> bool:
        self.asked += 1
        return self.responsive

    def _stop(self) -> None:
        self.stops += 1

    def _lose(self, ids: Collection[str]) -> None:
        self.lost.update(ids)

    def row(self) -> dict[str, Any]:
        columns = ("beat_at", "stopped_at", "job_types", "host", "pid", "waiting", "flow_run_id")
        (row,) = query(f"SELECT {', '.join(columns)} FROM workers WHERE worker_id = 'mine'")
        return dict(zip(columns, row, strict=True))

    def beats(self, times: int = 2) -> None:
        """Waits for that many more beats."""
        for _ in range(times):
            before = self.row()["beat_at"]
            until(lambda before=before: self.row()["beat_at"] > before, what="a beat", every=0.01)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(lease, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "UnknownTypeWatch", partial(UnknownTypeWatch, patience=0.2))
    made = Worker()
    yield made
    made.lease.stop()


def test_a_worker_signs_on_beats_and_signs_off(worker: Worker) -> None:
    before = threading.enumerate()
    worker_row("of last week", beat_age=7 * 86400)
    worker.lease.flow_run_id = "a flow run"
    worker.lease.start()
    signed_on = worker.row()
    assert (signed_on["job_types"], signed_on["host"]) == (["note"], socket.gethostname())
    assert (signed_on["pid"], signed_on["stopped_at"]) == (os.getpid(), None)
    assert value("SELECT count(*) FROM workers") == 1, "workers of last week are forgotten"
    worker.beats()
    worker.lease.wait_for_work(True)
    assert (worker.row()["waiting"], worker.row()["flow_run_id"]) == (True, "a flow run")

    worker.lease.stop()

    signed_off = worker.row()
    assert signed_off["stopped_at"] is not None and not signed_off["waiting"]
    assert not any(thread.name == "lease" and thread not in before for thread in threading.enumerate())


def test_a_worker_that_is_asked_to_stop_hears_it_once(worker: Worker) -> None:
    worker.lease.start()
    assert request_stop("mine") == ["mine"]
    until(lambda: worker.stops, what="on_stop")
    worker.beats(3)

    assert worker.stops == 1


def test_no_beat_is_sent_while_the_event_loop_does_not_answer(worker: Worker) -> None:
    worker.lease.start()
    worker.beats(1)
    worker.responsive = False
    # Ten times: the first answer may have been on its way before.
    worker.asked = 0
    until(lambda: worker.asked >= 10, what="the question", every=0.01)
    before = worker.row()["beat_at"]
    worker.asked = 0
    until(lambda: worker.asked >= 10, what="the question", every=0.01)
    assert worker.row()["beat_at"] == before

    worker.responsive = True
    worker.beats(1)


def test_a_worker_whose_row_was_deleted_registers_again(worker: Worker) -> None:
    worker.lease.start()
    query("DELETE FROM workers")

    until(lambda: value("SELECT count(*) FROM workers WHERE worker_id = 'mine'"), what="its return")
    assert worker.row()["job_types"] == ["note"]


def test_a_worker_that_waits_still_says_so_when_its_row_was_deleted(worker: Worker) -> None:
    worker.lease.start()
    worker.lease.wait_for_work(True)
    query("DELETE FROM workers")

    until(lambda: value("SELECT count(*) FROM workers WHERE worker_id = 'mine'"), what="its return")
    assert worker.row()["waiting"]


def test_the_lease_outlives_a_lost_connection(worker: Worker) -> None:
    worker.lease.start()
    query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dirtfree-jobs lease'")
    worker.beats(2)


def test_a_worker_is_told_what_is_no_longer_its_own(worker: Worker) -> None:
    kept, cancelled, taken = held_by("mine"), held_by("mine"), held_by("another")
    query("UPDATE background_jobs SET status = 'cancelled' WHERE id = %s", cancelled)
    worker.held = {kept, cancelled, taken, "deleted"}
    worker.lease.start()
    until(lambda: worker.lost, what="on_lost")
    worker.beats()

    assert worker.lost == {cancelled, taken, "deleted"}


def test_what_is_its_own_in_the_database_only_is_given_back_uncounted(worker: Worker) -> None:
    # Claimed "in an hour": however slow this test is, that was less than ten seconds ago.
    forgotten, fresh = held_by("mine", age=11), held_by("mine", age=-3600)
    worker.held = {held := held_by("mine", age=3600)}
    worker.lease.start()
    until(lambda: job(forgotten)["status"] == "pending", what="the return")

    assert (job(forgotten)["lost_count"], lookup.failures_of(forgotten)) == (0, [])
    worker.beats()
    assert (job(held)["status"], job(fresh)["status"]) == ("processing", "processing")


@pytest.mark.parametrize("gap", [False, True], ids=["after the start", "after a gap in the beats"])
def test_a_worker_rescues_only_after_a_whole_lease_of_unbroken_beats(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, gap: bool
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "UNBROKEN_GAP_SECONDS", 0.5)
    worker_row("dead", beat_age=DEAD)
    lost = held_by("dead")
    worker.responsive = not gap
    unbroken_from = value("SELECT clock_timestamp()")
    worker.lease.start()
    if gap:
        time.sleep(1.2)  # a lease and more since the start, but without beats
        unbroken_from = value("SELECT clock_timestamp()")
        worker.responsive = True

    until(lambda: job(lost)["status"] == "pending", what="the rescue")

    assert (job(lost)["updated_at"] - unbroken_from).total_seconds() >= 1.0


def test_after_the_machine_has_slept_a_worker_lets_the_others_beat_before_it_rescues(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    worker.lease.start()
    time.sleep(1.2)  # it may rescue by now
    now = time.time
    awake = value("SELECT clock_timestamp()")
    monkeypatch.setattr(time, "time", lambda: now() + 600)  # and the monotonic clock stood still
    worker.beats()
    worker_row("asleep too", beat_age=600)
    theirs = held_by("asleep too", age=700)

    until(lambda: job(theirs)["status"] == "pending", what="the rescue")

    assert (job(theirs)["updated_at"] - awake).total_seconds() >= 1.0


def test_a_lease_fails_what_no_worker_knows(worker: Worker) -> None:
    orphan = insert(job_type="new")
    worker.lease.start()

    until(lambda: job(orphan)["status"] == "failed", what="the end of the patience")


def test_a_stopping_worker_gives_back_what_it_holds_uncounted_and_only_its_own() -> None:
    jobs = [insert(priority=9) for _ in range(3)]
    claim = claimer(worker="mine").claim()
    assert isinstance(claim, Claim)
    others = held_by("another")

    assert release_jobs("mine", [jobs[0], others, "there is none"]) == 1
    assert [job(each)["status"] for each in jobs] == ["pending", "processing", "processing"]
    assert release_jobs("mine") == 2
    assert release_jobs("mine") == 0

    assert job(others)["status"] == "processing"
    for each in jobs:
        row = job(each)
        assert (row["status"], row["worker_id"], row["started_at"]) == ("pending", None, None)
        assert (row["retry_count"], row["lost_count"]) == (0, 0)


def test_live_workers_are_asked_to_stop_all_by_name_or_by_host() -> None:
    for name, host in {"a": "x", "b": "x", "c": "y"}.items():
        worker_row(name, host=host)
    worker_row("dead", host="x", beat_age=DEAD)
    worker_row("gone", host="x", stopped_at="2026-01-01")

    assert request_stop("c") == ["c"]
    assert value("SELECT array_agg(worker_id) FROM workers WHERE stop_requested") == ["c"]
    assert sorted(request_stop(host="x")) == ["a", "b"]
    assert request_stop("a", host="y") == []
    assert sorted(request_stop()) == ["a", "b", "c"]
    assert request_stop("dead") == []
