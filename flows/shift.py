"""One shift: claim, submit, refill as slots free, until the queue is drained, the budget spent, or the worker stops."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy.exc

from flows.worker import Worker
from models.claims import NothingDue
from models.settings import settings
from tasks.batch import Batch
from tasks.tally import Tally

logger = logging.getLogger(__name__)

#: Prefect keeps something of every task run until its flow run ends, so a shift is bounded in both.
SHIFT_MINUTES = 10.0
SHIFT_TASK_RUNS = 2_000
#: An idle worker looks again at once and after these seconds, then sleeps until it is woken: an insert whose
#: transaction began before `waiting` was visible does not notify.
SECOND_LOOKS = (0.05, 0.25, 1.0)
#: All that is due is being taken by others, or at its limit: look again soon.
CONTENDED_SECONDS = 0.05
#: A drain waits for jobs that come due this soon: short back-offs.
DRAIN_HORIZON_SECONDS = 60.0
#: All slots are taken: a batch that frees one rings, so this only bounds how late a full shift sees that it is over.
FULL_SECONDS = 1.0
#: How often a drain looks whether other workers are done with theirs.
DRAIN_TURN_SECONDS = 0.25
#: The database does not answer: pauses between claims grow up to this.
LONGEST_PAUSE_SECONDS = 5.0

#: The database is away, failing over or overrun. Anything else is a mistake, and ends the shift.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, sqlalchemy.exc.TimeoutError)

Submit = Callable[[Batch], "Future[Any]"]


@dataclass(slots=True)
class ShiftSummary:
    """What a shift did. `by_type` counts attempts per job type; `seconds` from its first to its last moment."""

    by_type: dict[str, Tally] = field(default_factory=dict)
    task_runs: int = 0
    seconds: float = 0.0
    drained: bool = False

    def ended(self, ending: str) -> int:
        """How many attempts ended like this (completed, retried, failed), over all types."""
        return sum(tally.ended(ending) for tally in self.by_type.values())

    @property
    def completed(self) -> int:
        return self.ended("completed")

    @property
    def retried(self) -> int:
        return self.ended("retried")

    @property
    def failed(self) -> int:
        return self.ended("failed")

    @property
    def jobs_per_second(self) -> float:
        return self.completed / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.completed} completed, {self.retried} retried, {self.failed} failed "
            f"in {self.seconds:.1f} s and {self.task_runs} task runs"
        )


class Shift:
    """Claims for a worker and hands the batches to Prefect.

    Args:
        worker: a started worker.
        submit: runs a batch as a Prefect task run; its future's callbacks fire when that is over.
        flow_run_id: written into the jobs, so that they lead back to this shift.
        drain: whether to end when nothing is left to wait for.
        minutes: the budget; afterwards the shift claims on until it is `relieved`, if `handover`, else ends.
        handover: whether a successor relieves this shift.
    """

    def __init__(
        self,
        worker: Worker,
        submit: Submit,
        *,
        flow_run_id: str | None,
        drain: bool,
        minutes: float = SHIFT_MINUTES,
        handover: bool = False,
    ) -> None:
        self._worker = worker
        self._submit = submit
        self._flow_run_id = flow_run_id
        self._drain = drain
        self._seconds = minutes * 60
        self._handover = handover
        #: The budget is spent; a successor may start.
        self.tired = threading.Event()
        self._relieved = False
        self._lock = threading.Lock()
        self._running = 0
        self._all_ended = threading.Event()
        self._all_ended.set()
        self.summary = ShiftSummary()

    def relieve(self) -> None:
        """A successor has begun: stop claiming."""
        self._relieved = True
        self._worker.bell.ring()

    def claim_until_done(self) -> None:
        """Claims and submits until the shift is over; what runs by then runs on (see `wait`)."""
        began = time.monotonic()
        looks = 0
        pause = CONTENDED_SECONDS
        while True:
            heard = self._worker.bell.rings
            self.summary.seconds = time.monotonic() - began
            if self._over():
                break
            try:
                found = self._worker.claim(self._flow_run_id)
                pause = CONTENDED_SECONDS
                if found is None:
                    self._worker.bell.wait(heard, FULL_SECONDS)
                elif isinstance(found, Batch):
                    self._take(found)
                    self._worker.wait_for_work(False)
                elif self._drain and self._drained():
                    self.summary.drained = True
                    break
                elif self._worker.wait_for_work(True):
                    looks = 0  # what came before that was visible did not notify: look again at once
                elif self._worker.bell.wait(heard, self._idle_seconds(found, looks)):
                    looks = 0
                else:
                    looks += 1
            except UNAVAILABLE as error:
                logger.warning("the database does not answer, trying again: %s", str(error).strip())
                self._worker.bell.wait(heard, pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def wait(self) -> ShiftSummary:
        """Waits for the shift's batches to end, and returns what it did."""
        began = time.monotonic()
        self._all_ended.wait()
        self.summary.seconds += time.monotonic() - began
        return self.summary

    def _over(self) -> bool:
        if not self._worker.claiming or self._relieved:
            return True
        if not self.tired.is_set():
            spent = self.summary.seconds >= self._seconds or self.summary.task_runs >= SHIFT_TASK_RUNS
            if not spent:
                return False
            self.tired.set()
            self._worker.bell.ring()
        # Without a successor in sight the work goes on: Prefect's API may be away.
        return not self._handover

    def _drained(self) -> bool:
        return self._worker.slots.empty and not self._worker.claimer.due_within(DRAIN_HORIZON_SECONDS)

    def _idle_seconds(self, found: NothingDue, looks: int) -> float:
        longest = settings().poll_interval_ms / 1000 if looks >= len(SECOND_LOOKS) else SECOND_LOOKS[looks]
        if self._drain:
            longest = min(longest, DRAIN_TURN_SECONDS)
        if not self.tired.is_set():
            longest = min(longest, max(self._seconds - self.summary.seconds, CONTENDED_SECONDS))
        if found.due_in is not None:
            longest = min(longest, max(found.due_in, CONTENDED_SECONDS))
        return longest

    def _take(self, batch: Batch) -> None:
        with self._lock:
            self._running += 1
            self._all_ended.clear()
        if batch.alone and not self._until_alone(batch):
            self._batch_ended(batch)
            return
        self.summary.task_runs += 1
        try:
            future = self._submit(batch)
        except BaseException:
            self._batch_ended(batch)
            raise
        future.add_done_callback(lambda _: self._batch_ended(batch))

    def _until_alone(self, batch: Batch) -> bool:
        """Waits until nothing else runs, as this batch may be what kills its workers; False when the worker stops."""
        while True:
            heard = self._worker.bell.rings
            if self._worker.slots.has_only(batch) or not self._worker.claiming:
                return self._worker.claiming
            self._worker.bell.wait(heard, FULL_SECONDS)

    def _batch_ended(self, batch: Batch) -> None:
        try:
            tally = self._worker.ended(batch)
            with self._lock:
                self.summary.by_type.setdefault(batch.job_type.name, Tally()).merge(tally)
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    self._all_ended.set()
