"""The life of a job: what may become of it next, whoever acts on it, and what people leave in the audit log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from support import claimer, finish, insert, job, job_type, known, outcome, query, value, worker_row

from models import bulk, job_queue, operations
from models import database as databases
from models.actions import CANCEL_CHANNEL, attempt_name
from models.claims import Claim, ClaimedJob, NothingDue
from models.filters import JobFilter
from models.lease import release_jobs
from models.operations import Actor
from models.outcomes import Ending, record
from models.rescue import FAIL_AFTER_LOSSES, rescue_lost_jobs

WORKERS = ("worker-1", "worker-2")
LIVE = ("pending", "processing")
BOB = Actor("bob", "operator")


@pytest.fixture(autouse=True)
def note(database: str) -> Iterator[None]:
    with known(job_type()):
        yield


@dataclass
class Life:
    """What a job should be by now."""

    key: str | None
    status: str = "pending"
    retries: int = 0
    losses: int = 0
    worker: str | None = None
    attempt: ClaimedJob | None = None
    failures: Counter[str] = field(default_factory=Counter)


class Lives(RuleBasedStateMachine):
    """Adds, claims, finishes, retries, cancels, undoes, rescues, releases in any order, against the real database."""

    jobs: Bundle[str] = Bundle("jobs")
    attempts: Bundle[tuple[str, ClaimedJob]] = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        query("TRUNCATE background_jobs, job_metrics, workers, audit_log, retried_jobs, bulk_actions CASCADE")
        for worker in WORKERS:
            worker_row(worker, beat_age=-3600)  # alive however long this takes
        self.lives: dict[str, Life] = {}
        self.counted: Counter[str] = Counter()
        self.audited: list[tuple[str, str, str]] = []
        #: What the last bulk retry put back and nobody has touched since: what each job was.
        self.last_action: str | None = None
        self.untouched: dict[str, Life] = {}

    def _holder(self, key: str | None) -> str | None:
        live = (job_id for job_id, life in self.lives.items() if key and life.key == key and life.status in LIVE)
        return next(live, None)

    def _held(self, worker: str) -> list[Life]:
        return [life for life in self.lives.values() if life.status == "processing" and life.worker == worker]

    @initialize(target=jobs, keys=st.lists(st.sampled_from([None, None, "a", "b"]), min_size=2, max_size=5))
    def begin(self, keys: list[str | None]) -> Any:
        return multiple(*(self.add(key, 5) for key in keys))

    @rule(target=jobs, key=st.sampled_from([None, None, "a", "b"]), priority=st.integers(4, 6))
    def add(self, key: str | None, priority: int) -> str:
        holder = self._holder(key)
        job_id = job_queue.add_job(type="note", priority=priority, unique_key=key)
        if holder is None:
            assert job_id not in self.lives
            self.lives[job_id] = Life(key)
        else:
            assert job_id == holder
        return job_id

    @rule(target=attempts, worker=st.sampled_from(WORKERS), most=st.integers(1, 3))
    def claim(self, worker: str, most: int) -> Any:
        found = claimer(worker=worker, most=most).claim()
        pending = {job_id for job_id, life in self.lives.items() if life.status == "pending"}
        assert isinstance(found, NothingDue) == (not pending)
        claimed = found.jobs if isinstance(found, Claim) else []
        for each in claimed:
            life = self.lives[each.id]
            assert each.id in pending
            assert (each.retry_count, each.lost_count) == (life.retries, life.losses)
            life.status, life.worker, life.attempt = "processing", worker, each
            self.untouched.pop(each.id, None)
        return (worker, claimed[-1]) if claimed else (worker, None)

    @rule(attempt=consumes(attempts), ending=st.sampled_from(Ending))
    def finish(self, attempt: tuple[str, ClaimedJob | None], ending: Ending) -> None:
        worker, claimed = attempt
        if claimed is None:
            return
        life = self.lives[claimed.id]
        holds = life.status == "processing" and life.attempt is claimed

        refused = record(worker, [outcome(claimed, ending)])

        assert bool(refused) is not holds
        if not holds:
            life.failures["LeaseLost"] += 1
            return
        self.counted[ending] += 1
        life.failures["RuntimeError"] += ending in (Ending.RETRY, Ending.FAILED)
        if ending in (Ending.RETRY, Ending.SNOOZED):
            life.status, life.worker, life.retries = "pending", None, life.retries + (ending is Ending.RETRY)
        else:
            life.status = ending.value

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        life = self.lives[job_id]
        before = life.status
        assert job_queue.cancel_job(job_id, who="ann") is (before in LIVE)
        if before in LIVE:
            life.status = "cancelled"
            self.untouched.pop(job_id, None)
            self.counted["cancelled"] += 1
            self.audited.append(("cancel", job_id, before))

    @rule(job_id=jobs)
    def retry(self, job_id: str) -> None:
        life = self.lives[job_id]
        before = life.status
        may = before in ("failed", "cancelled") and self._holder(life.key) is None
        assert job_queue.retry_job(job_id, who="ann") is may
        if may:
            life.status, life.worker, life.retries, life.losses = "pending", None, 0, 0
            self.untouched.pop(job_id, None)
            self.counted["requeued"] += before == "failed"
            self.audited.append(("retry", job_id, before))

    @rule()
    def retry_all(self) -> None:
        wanted = []
        for job_id, life in sorted(self.lives.items()):
            if life.status == "failed" and self._holder(life.key) is None:
                wanted.append((job_id, replace(life)))
                life.status, life.worker, life.retries, life.losses = "pending", None, 0, 0
        self.last_action, runner = bulk.create_bulk_retry(JobFilter(), None, BOB)
        *_, progress = bulk.run_bulk(self.last_action, runner)
        assert progress.done == len(wanted)
        self.untouched = dict(wanted)
        self.counted["requeued"] += len(wanted)

    @rule()
    def undo(self) -> None:
        if self.last_action is None:
            return
        assert operations.undo(self.last_action, BOB).done == len(self.untouched)
        self.lives |= self.untouched
        self.counted["requeued"] -= len(self.untouched)
        self.untouched = {}

    @rule(worker=st.sampled_from(WORKERS))
    def give_back(self, worker: str) -> None:
        held = self._held(worker)
        assert release_jobs(worker) == len(held)
        for life in held:
            life.status, life.worker = "pending", None

    @rule(worker=st.sampled_from(WORKERS), stops=st.booleans())
    def lose_worker(self, worker: str, stops: bool) -> None:
        held = self._held(worker)
        dies = "stopped_at = now()" if stops else "beat_at = now() - interval '31 seconds'"
        query(f"UPDATE workers SET {dies} WHERE worker_id = %s", worker)
        with databases.connect() as connection:
            assert rescue_lost_jobs(connection) == len(held)
        alive = "stopped_at = NULL, beat_at = now() + interval '1 hour'"
        query(f"UPDATE workers SET {alive} WHERE worker_id = %s", worker)
        for life in held:
            life.losses += 1
            life.failures["WorkerLost"] += 1
            self.counted["lost"] += 1
            if life.losses >= FAIL_AFTER_LOSSES:
                life.status = "failed"
                self.counted["failed"] += 1
            else:
                life.status, life.worker = "pending", None

    @invariant()
    def the_rows_are_what_they_should_be(self) -> None:
        rows = query("SELECT id, status, retry_count, lost_count, worker_id FROM background_jobs")
        assert {row[0]: row[1:] for row in rows} == {
            job_id: (life.status, life.retries, life.losses, life.worker) for job_id, life in self.lives.items()
        }
        inconsistent = query(
            "SELECT id FROM background_jobs WHERE (status IN ('completed', 'failed', 'cancelled'))"
            " <> (completed_at IS NOT NULL) OR status = 'pending' AND started_at IS NOT NULL"
            " OR status = 'processing' AND started_at IS NULL"
        )
        assert inconsistent == []

    def teardown(self) -> None:
        history = Counter(query("SELECT job_id, error_class FROM job_failures"))
        assert history == Counter(
            {(job_id, name): n for job_id, life in self.lives.items() for name, n in life.failures.items() if n}
        )
        audited = query("SELECT action, target, detail->>'was' FROM audit_log WHERE who = 'ann' ORDER BY id")
        assert audited == self.audited
        for event in ("completed", "retried", "failed", "cancelled", "lost", "requeued", "snoozed"):
            assert value(f"SELECT coalesce(sum({event}), 0) FROM job_metrics") == self.counted[event]


def test_whatever_happens_in_whatever_order_a_job_only_becomes_what_it_may() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=40, stateful_step_count=30, database=None))


def test_a_retry_keeps_the_history_and_starts_the_budgets_anew() -> None:
    job_id = insert(retry_count=3, max_retries=3, lost_count=4)
    claim = claimer().claim("flow-1")
    assert isinstance(claim, Claim)
    finish(claim, Ending.FAILED)
    query("UPDATE background_jobs SET progress = 0.3, progress_note = 'a third'")
    before = value("SELECT clock_timestamp()")

    assert job_queue.retry_job(job_id, who="ann")

    row = job(job_id)
    assert (row["status"], row["retry_count"], row["lost_count"], row["max_retries"]) == ("pending", 0, 0, 3)
    assert row["scheduled_for"] >= before, "due now, behind what waits already"
    assert {row[name] for name in ("started_at", "completed_at", "error_message", "worker_id", "progress")} == {None}
    assert query("SELECT attempt, error_class FROM job_failures") == [(4, "RuntimeError")]
    assert query("SELECT who, action, target, detail FROM audit_log") == [("ann", "retry", job_id, {"was": "failed"})]


def test_who_is_not_named_is_the_system_user() -> None:
    assert job_queue.cancel_job(insert())

    assert query("SELECT who <> '', action FROM audit_log") == [(True, "cancel")]


@pytest.mark.parametrize("status", ["processing", "pending"])
def test_only_the_cancel_of_a_running_job_tells_the_workers(database: str, status: str) -> None:
    job_id = insert(status=status)
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute(f"LISTEN {CANCEL_CHANNEL}")
        assert job_queue.cancel_job(job_id)
        listener.execute(f"NOTIFY {CANCEL_CHANNEL}, 'the end'")
        heard = []
        for notification in listener.notifies(timeout=10):
            heard.append(notification.payload)
            if notification.payload == "the end":
                break

    ((started_at,),) = query("SELECT started_at FROM background_jobs")
    assert heard == ([attempt_name(job_id, started_at), "the end"] if status == "processing" else ["the end"])


@pytest.mark.parametrize("odd", ["", "no-such-job", "a\x00b", "\ud800", "x" * 10_000, "'; DROP TABLE workers; --"])
def test_an_id_that_is_no_jobs_is_neither_retried_nor_cancelled(odd: str) -> None:
    assert job_queue.retry_job(odd) is False
    assert job_queue.cancel_job(odd) is False
    assert value("SELECT count(*) FROM audit_log") == 0


def test_the_longest_id_can_be_cancelled_while_it_runs() -> None:
    job_id = insert(id="ü" * 127, status="processing")

    assert job_queue.cancel_job(job_id)
