"""One batch: up to a thousand claimed jobs of one type, run as one Prefect task run on the worker's event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import anyio
from prefect.client.schemas.objects import State
from prefect.runtime import task_run
from prefect.states import Completed, Failed
from pydantic import BaseModel

from models.actions import attempt_name
from models.claims import ClaimedJob
from models.door import InvalidJobError, parse_payload
from models.outcomes import Ending, Failure, Outcome, storable
from models.registry import JobType
from tasks.bounded import for_each, in_thread, is_teardown
from tasks.context import CurrentJob, running_job, stage_seconds
from tasks.errors import PermanentError, Snooze
from tasks.result import result_text
from tasks.splitting import Patience, in_parts
from tasks.tally import Tally

#: A batch no longer holds its slot when less than this share of its jobs still runs: one mail in fifty that takes 30 s
#: must not cost nine tenths of the throughput.
STRAGGLER_SHARE = 0.2
#: Why a job was put off: a line, not a text.
NOTE_LIMIT = 500


class Recorder(Protocol):
    """Where outcomes and progress go (`flows.recorder`)."""

    def add(self, outcome: Outcome) -> None: ...
    def report(self, job: ClaimedJob, share: float, note: str | None) -> None: ...
    def flush(self) -> None: ...


class Batch:
    """Carries claimed jobs into a Prefect task run and their outcomes out of it.

    A plain object on purpose: Prefect walks through dicts, lists and models in a task's parameters (1,000 payloads cost
    189 ms of CPU), and keeps them alive with every unsent event; so `run` empties this one before it returns.

    Args:
        job_type: what the jobs are.
        jobs: as claimed, the most urgent first.
        at_once: how many of them run at the same time.
        alone: whether nothing else may run beside it in this worker.
        loop: the worker's event loop; it runs in a thread of its own.
        threads: the bound on `def` processors, over all batches of the worker.
        recorder: where outcomes go.
        on_stragglers: called when only stragglers are left, on the event loop.
    """

    def __init__(
        self,
        *,
        job_type: JobType,
        jobs: Sequence[ClaimedJob],
        at_once: int,
        alone: bool,
        loop: asyncio.AbstractEventLoop,
        threads: anyio.CapacityLimiter,
        recorder: Recorder,
        on_stragglers: Callable[[], None],
    ) -> None:
        self.job_type = job_type
        self.size = len(jobs)
        self.alone = alone
        self.tally = Tally()
        #: The event loop ended under it.
        self.torn_down = False
        #: What has not ended yet, in the order of the claim.
        self._held = {job.id: job for job in jobs}
        self._claimed = time.monotonic()
        self._at_once = min(at_once, self.size)
        self._loop = loop
        self._threads = threads
        self._recorder = recorder
        self._on_stragglers = on_stragglers
        self.holds_slot = True
        self._deadlines: dict[str, asyncio.Timeout] = {}
        self._interrupted: set[str] = set()
        self._over = threading.Event()
        self._everything: asyncio.Task[None] | None = None
        self._task_run_id: str | None = None
        self._is_async = inspect.iscoroutinefunction(job_type.run)
        priorities = [job.priority for job in jobs]
        span = f"{max(priorities)}-{min(priorities)}" if len(set(priorities)) > 1 else str(priorities[0])
        self._title = f"{job_type.name} × {self.size}, priority {span}"

    def __str__(self) -> str:
        return self._title

    @property
    def remaining(self) -> int:
        """How many of its jobs have not ended yet."""
        return len(self._held)

    def held_jobs(self) -> list[str]:
        """The ids of the jobs that have not ended and are still the worker's."""
        return [job_id for job_id in list(self._held) if job_id not in self._interrupted]

    def job_of(self, attempt: str) -> str | None:
        """The id of the job whose attempt this is (see `models.actions.attempt_name`), if it runs here."""
        job = self._held.get(attempt.partition(" ")[2])
        return job.id if job is not None and attempt_name(job.id, job.started_at) == attempt else None

    def interrupt(self, ids: set[str] | None = None) -> None:
        """Ends jobs without an outcome (all, or those named), running or not: they are not this worker's any more.

        An `async def` processor is cancelled at its next await; a `def` runs on in its thread, unheeded. Runs on the
        event loop (call it through the portal).
        """
        for job_id in self._held.keys() if ids is None else self._held.keys() & ids:
            self._interrupted.add(job_id)
            deadline = self._deadlines.get(job_id)
            if deadline is not None and not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())

    def abandon(self) -> None:
        """Lets `run` return although jobs run on: those that ignore their cancellation, or block the event loop."""
        self._over.set()

    def clear(self) -> None:
        """Forgets the jobs that have not ended, payloads and all."""
        self._held.clear()

    def run(self) -> Tally:
        """Runs the jobs, blocking this thread, until each has ended and its outcome is written."""
        self._task_run_id = str(task_run.id) if task_run.id else None
        running = asyncio.run_coroutine_threadsafe(self._run_all(), self._loop)
        running.add_done_callback(lambda _: self._over.set())
        self._over.wait()
        broken = running.exception() if running.done() and not running.cancelled() else None
        if broken is not None:
            # What gets past `_attempt` counts as an attempt of all that are left, or they would come back for ever.
            for job in list(self._held.values()):
                self._failed(job, self._claimed, broken)
            self.clear()
        self._recorder.flush()
        self.torn_down = running.cancelled()
        if running.done():
            running.result()
        return self.tally

    async def _run_all(self) -> None:
        self._everything = asyncio.current_task()
        jobs = list(self._held.values())
        if self.job_type.takes_many:
            await self._run_together(jobs)
        else:
            await for_each(jobs, self._run_one, self._at_once)

    async def _run_together(self, jobs: list[ClaimedJob]) -> None:
        """All of them in one call of the processor; what fails is called again in parts, down to single jobs."""
        payloads = {job.id: self._payload(job) for job in jobs if job.id not in self._interrupted}
        jobs = [job for job in jobs if payloads.get(job.id) is not None]
        patience = Patience(self.job_type.timeout_seconds)
        await in_parts(jobs, lambda part: self._attempt_together(part, payloads, patience))
        self._held.clear()

    def _payload(self, job: ClaimedJob) -> BaseModel | None:
        began = time.monotonic()
        try:
            return parse_payload(self.job_type, job.payload)
        except InvalidJobError as error:
            self._failed(job, began, error, for_good=True)
            return None

    async def _attempt_together(
        self, jobs: list[ClaimedJob], payloads: dict[str, BaseModel | None], patience: Patience
    ) -> bool:
        """Runs the processor over these jobs; False when it raised, and they are to be tried in smaller parts."""
        jobs = [job for job in jobs if job.id not in self._interrupted]
        if not jobs:
            return True
        began = time.monotonic()
        stages: dict[str, float] = {}
        results: Sequence[Any] = [patience.ended_by] * len(jobs)
        if patience.ended_by is None:
            try:
                results = await self._results(jobs, [payloads[job.id] for job in jobs], stages)
                patience.succeeded()
            except BaseException as error:
                if is_teardown(error, self._everything):
                    raise
                patience.failed(error, time.monotonic() - began)
                # A snooze is for all of the call: parts of it would only ask again what has just said "later".
                if len(jobs) > 1 and patience.ended_by is None and not isinstance(error, Snooze):
                    return False
                results = [error] * len(jobs)
        # Each job's own share: what it took together says nothing of one of them.
        share = (time.monotonic() - began) / len(jobs)
        stages = {stage: seconds / len(jobs) for stage, seconds in stages.items()}
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, BaseException):
                self._failed(job, began, result, ran=share, stages=stages)
            else:
                self._record(job, began, Ending.COMPLETED, result=result_text(result), ran=share, stages=stages)
            self._held.pop(job.id, None)
        return True

    async def _results(self, jobs: list[ClaimedJob], payloads: list[Any], stages: dict[str, float]) -> Sequence[Any]:
        """What the processor says came of each of these jobs, in one call."""
        results = await self._call(jobs, payloads, stages)
        if not isinstance(results, list | tuple) or len(results) != len(jobs):
            got = len(results) if isinstance(results, list | tuple) else type(results).__name__
            raise TypeError(f"{self.job_type.name}: expected a list of {len(jobs)} results, got {got}")
        return results

    async def _run_one(self, job: ClaimedJob) -> None:
        if job.id not in self._interrupted:
            await self._attempt(job)
        self._held.pop(job.id, None)
        if self.holds_slot and len(self._held) < self.size * STRAGGLER_SHARE:
            self.holds_slot = False
            self._on_stragglers()

    async def _attempt(self, job: ClaimedJob) -> None:
        began = time.monotonic()
        payload: BaseModel | None = None
        stages: dict[str, float] = {}
        try:
            payload = parse_payload(self.job_type, job.payload)
            result = result_text(await self._call([job], payload, stages))
        # A processor may raise anything, SystemExit and CancelledError included; it ends its own job and no other.
        except BaseException as error:
            if is_teardown(error, self._everything):
                raise
            unfit = payload is None and isinstance(error, InvalidJobError)
            self._failed(job, began, error, for_good=unfit, stages=stages)
        else:
            self._record(job, began, Ending.COMPLETED, result=result, stages=stages)

    def _failed(
        self, job: ClaimedJob, began: float, error: BaseException, *, for_good: bool = False, **timing: Any
    ) -> None:
        if isinstance(error, Snooze):
            self._record(job, began, Ending.SNOOZED, delay=error.seconds, note=storable(error.reason), **timing)
            return
        for_good = for_good or isinstance(error, PermanentError) or job.retry_count >= job.max_retries
        ending = Ending.FAILED if for_good else Ending.RETRY
        delay = 0.0 if for_good else self.job_type.retry_delay(job.attempt)
        self._record(job, began, ending, delay=delay, failure=Failure.of(error), **timing)

    def _record(
        self,
        job: ClaimedJob,
        began: float,
        ending: Ending,
        *,
        delay: float = 0.0,
        failure: Failure | None = None,
        result: str | None = None,
        note: str | None = None,
        ran: float | None = None,
        stages: dict[str, float] | None = None,
    ) -> None:
        if job.id in self._interrupted:
            return  # taken away while it ended: whoever took it decides
        ended = time.monotonic()
        outcome = Outcome(
            job=job,
            job_type=self.job_type.name,
            ending=ending,
            elapsed=ended - self._claimed,
            waited=job.waited + (began - self._claimed),
            ran=ended - began if ran is None else ran,
            task_run_id=self._task_run_id,
            delay=delay,
            failure=failure,
            result=result,
            note=note[:NOTE_LIMIT] if note is not None else None,
            stages=stages or {},
        )
        self.tally.add(outcome)
        self._recorder.add(outcome)

    async def _call(self, jobs: list[ClaimedJob], payload: Any, stages: dict[str, float]) -> Any:
        """The processor's own call, for one job or, where it takes many, for all of them."""
        running_job.set(None if self.job_type.takes_many else self._current(jobs[0]))
        stage_seconds.set(stages)
        limit = self.job_type.timeout_seconds
        try:
            async with asyncio.timeout(limit) as deadline:
                # The call for many goes on when one of them is taken away: its outcome is then refused.
                if len(jobs) == 1:
                    self._deadlines[jobs[0].id] = deadline
                if self._is_async:
                    return await self.job_type.run(payload)
                return await in_thread(self.job_type.run, payload, limiter=self._threads, abandon=True)
        except TimeoutError:
            if deadline.expired():
                raise TimeoutError(f"{self.job_type.name} took longer than its {limit} s") from None
            raise
        finally:
            self._deadlines.pop(jobs[0].id, None)

    def _current(self, job: ClaimedJob) -> CurrentJob:
        return CurrentJob(
            job.id,
            self.job_type.name,
            job.attempt,
            job.max_retries,
            lambda share, note: self._recorder.report(job, share, note),
        )


def run_batch(batch: Batch) -> State[Any]:
    """Runs a batch of jobs of one type; each job's own outcome is in `background_jobs`, where the truth is."""
    tally = batch.run()
    counts = {ending: tally.ended(ending) for ending in Ending}
    message = ", ".join(f"{jobs} {ending}" for ending, jobs in counts.items() if jobs) or "nothing left to do"
    if counts[Ending.FAILED] and not counts[Ending.COMPLETED]:
        return Failed(message=message)
    return Completed(message=message)
