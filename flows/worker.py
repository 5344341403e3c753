"""A worker: the event loop, the lease, the recorder, the wake-up and the slots that shifts fill with batches."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from uuid import uuid4

import anyio
from anyio.from_thread import start_blocking_portal

from flows.bell import Bell
from flows.recorder import Recorder
from flows.slots import Slots
from flows.wakeup import WakeUp
from models import registry
from models.claims import Claim, Claimer, NothingDue
from models.lease import Lease, release_jobs
from models.settings import settings
from tasks.batch import Batch
from tasks.tally import Tally

logger = logging.getLogger(__name__)

#: The lease ends when the event loop has not answered for this long: one blocking `async def` stalls every batch.
LOOP_ANSWER_SECONDS = 20.0
#: A batch of short jobs carries up to this many times its size, so that a Prefect task run (about 5 ms here and 11 to
#: 40 ms on the server) pays off ...
MOST_CARRIED = 20
#: ... while the type's mean run time keeps the batch under this.
SHORT_BATCH_SECONDS = 0.25
#: How much of a type's mean run time the newest batch decides.
_NEWEST_SHARE = 0.5
#: How long interrupted jobs are given to unwind before their rows go back anyway.
UNWIND_SECONDS = 1.0
#: How long a stopping worker tries to write what has ended, and then to give back the rest and sign off.
LAST_FLUSH_SECONDS = 1.5
SIGN_OFF_SECONDS = 2.0


class Worker:
    """Runs batches of claimed jobs. Shifts (Prefect flow runs) claim for it and carry its batches.

    Args:
        job_types: the types to work on, by name; None: all that this process knows.
        on_stop: called when somebody asks this worker to stop through the database, or its event loop has ended.
    """

    def __init__(
        self, job_types: Sequence[str] | None = None, *, on_stop: Callable[[], None] | None = None
    ) -> None:
        known = registry.load()
        unknown = sorted(set(job_types or ()) - set(known))
        if unknown:
            raise ValueError(f"job_types: no job type {unknown[0]!r}; the known ones are: {', '.join(sorted(known))}")
        self._types = {name: known[name] for name in (job_types or known)}
        self.worker_id = f"{socket.gethostname()}-{uuid4().hex[:12]}"
        self.concurrency = settings().concurrency
        #: Rung whenever something happened that a waiting shift should look at.
        self.bell = Bell()
        self.claimer = Claimer(
            worker_id=self.worker_id,
            job_types=sorted(self._types),
            fair_every=settings().fair_every,
            batch_limit=self._batch_limit,
        )
        self.recorder = Recorder(self.worker_id)
        self._on_stop = on_stop or self.stop_claiming
        self.lease = Lease(
            worker_id=self.worker_id,
            job_types=sorted(self._types),
            responsive=self._loop_answers,
            held_jobs=self._held_jobs,
            on_stop=self._on_stop,
            on_lost=self._interrupt,
        )
        self._wakeup = WakeUp(on_listening=self._listening, on_work=self.bell.ring, on_cancelled=self._cancelled)
        at_once = self.concurrency * settings().batch_size
        self.slots = Slots(batches=self.concurrency, stragglers=at_once)
        self._threads = anyio.CapacityLimiter(at_once)
        self._exits = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_answered = time.monotonic()
        #: Held while starting and stopping.
        self._life = threading.Lock()
        #: Held while claiming: two shifts may claim for one worker, and a stopping worker waits for the last claim.
        self._claim = threading.Lock()
        self._mean_run: dict[str, float] = defaultdict(lambda: SHORT_BATCH_SECONDS)
        self._claiming = True
        #: What `workers` says of it; None: unknown.
        self._waiting: bool | None = False
        self._gone = False
        #: A batch was cancelled by the end of the event loop, which closes only when its threads have ended.
        self._torn_down = False
        self._released: int | None = None

    # Its life.

    def start(self) -> None:
        """Declares its job types, takes its lease and listens."""
        with self._life:
            registry.declare(self._types)
            self.lease.start()
            portal = self._exits.enter_context(start_blocking_portal(name="jobs"))
            self._loop = portal.call(asyncio.get_running_loop)
            self._loop_answered = time.monotonic()
            self.recorder.start()
            self._wakeup.start()
        # What is imported by now (half a million objects, Prefect's mostly) stays: looking through it at every full
        # collection took a quarter of the throughput of short jobs. Once: each freeze keeps the garbage of its moment.
        if not gc.get_freeze_count():
            gc.freeze()
        logger.info("worker %s knows %d job types", self.worker_id, len(self._types))

    def stop_claiming(self) -> None:
        """No more claims; what runs goes on."""
        self._claiming = False
        self.bell.ring()

    @property
    def claiming(self) -> bool:
        return self._claiming

    @property
    def broken(self) -> bool:
        """Whether its event loop has ended: some processor's own task raised SystemExit or KeyboardInterrupt there."""
        return self._torn_down or (self._loop is not None and self._loop.is_closed())

    def stop(self, grace: float | None = None) -> int:
        """Ends the worker: running jobs get `grace` seconds (None: the setting), then go back to pending, uncounted.

        May be called again, from any thread: it waits for the first call.

        Returns:
            How many jobs went back.
        """
        self.stop_claiming()
        with self._life:
            if self._released is None:
                self._released = self._stop(settings().grace_period if grace is None else grace)
            return self._released

    def _stop(self, grace: float) -> int:
        deadline = time.monotonic() + grace
        # The last claim may still bring jobs.
        if self._claim.acquire(timeout=grace):
            self._claim.release()
        self._until_none_runs(deadline)
        if self.slots.running():
            self._interrupt(None)
            self._until_none_runs(time.monotonic() + UNWIND_SECONDS)
        self._gone = True
        stubborn = self.slots.running()
        for batch in stubborn:
            batch.abandon()
        released: list[int] = []
        # Each statement may take ten seconds when the database is away.
        if not _within(LAST_FLUSH_SECONDS + SIGN_OFF_SECONDS, lambda: released.append(self._sign_off())):
            logger.error("the database does not answer; the jobs held here go back when the lease runs out, in 30 s")
        if not stubborn:
            # The loop waits for the threads of what was cancelled while in `asyncio.to_thread`.
            _within(UNWIND_SECONDS, self._exits.close)
        return sum(released)

    def _until_none_runs(self, deadline: float) -> None:
        while True:
            heard = self.bell.rings
            left = deadline - time.monotonic()
            if left <= 0 or not self.slots.running():
                return
            self.bell.wait(heard, left)

    def _sign_off(self) -> int:
        if not self.recorder.stop(timeout=LAST_FLUSH_SECONDS):
            logger.error("the database does not answer; the outcomes of the last jobs are lost and they run again")
        released = 0
        try:
            # When the event loop has ended, a job ended it: the peers' rescue counts that, so that it cannot go on.
            released = 0 if self.broken else release_jobs(self.worker_id)
        except Exception as error:  # the lease gives them back later; nothing here can do better
            logger.error("could not give the running jobs back (their lease runs out in 30 s): %s", error)
        self._wakeup.stop()
        self.lease.stop()
        return released

    # What shifts do with it.

    def wait_for_work(self, waiting: bool) -> bool:
        """Says in `workers` whether it is idle and wants to be notified; True when that is news."""
        with self._claim:
            news = waiting != self._waiting
            if news:
                self.lease.wait_for_work(waiting)
                self._waiting = waiting
            return news

    def claim(self, flow_run_id: str | None) -> Batch | NothingDue | None:
        """Claims for one free slot; None: no slot is free.

        The batch takes its slot until only stragglers are left. Run it, and hand it back with `ended`, run or not.
        """
        with self._claim:
            loop = self._loop
            if loop is None or self.broken or not self._claiming or not self.slots.free:
                return None
            claim = self.claimer.claim(flow_run_id)
            if isinstance(claim, NothingDue):
                return claim
            if self._gone:
                self._give_back([job.id for job in claim.jobs])
                return None
            return self._batch(claim, loop)

    def _batch(self, claim: Claim, loop: asyncio.AbstractEventLoop) -> Batch:
        job_type = self._types[claim.job_type]
        # What is claimed again was taken away before (rescued while this worker stalled, or cancelled and retried), and
        # the next heartbeat finds it here as it should be: the attempt before ends now, or the two would run side by
        # side.
        self._interrupt([job.id for job in claim.jobs])
        batch = Batch(
            job_type=job_type,
            jobs=claim.jobs,
            at_once=job_type.batch_size or settings().batch_size,
            alone=claim.alone,
            loop=loop,
            threads=self._threads,
            recorder=self.recorder,
            on_stragglers=self.bell.ring,
        )
        self.slots.add(batch)
        return batch

    def ended(self, batch: Batch) -> Tally:
        """Takes back a batch whose task run is over, ran or not, and returns what became of its jobs."""
        left = batch.held_jobs()
        self._torn_down = self._torn_down or batch.torn_down
        if left and not self.broken:
            # Prefect ended the task run before it called us; the jobs are due again at once.
            self._give_back(left)
        batch.clear()
        self.slots.remove(batch)
        tally, batch.tally = batch.tally, Tally()
        mean = tally.mean_run()
        if mean is not None:
            name = batch.job_type.name
            self._mean_run[name] += _NEWEST_SHARE * (mean - self._mean_run[name])
        self.bell.ring()
        return tally

    def _give_back(self, job_ids: Collection[str]) -> None:
        try:
            release_jobs(self.worker_id, job_ids)
        except Exception as error:  # the lease finds them: the database says that they run here, and they do not
            logger.warning("%d jobs that did not run go back at a later heartbeat: %s", len(job_ids), error)

    def _batch_limit(self, name: str) -> int:
        at_once = self._types[name].batch_size or settings().batch_size
        carried = int(SHORT_BATCH_SECONDS / max(self._mean_run[name], 1e-6))
        return at_once * max(1, min(MOST_CARRIED, carried))

    # What the lease and the wake-up ask.

    def _held_jobs(self) -> list[str]:
        # In this order: an outcome is handed to the recorder before its job is let go.
        held = [job_id for batch in self.slots.running() for job_id in batch.held_jobs()]
        return [*held, *self.recorder.unwritten()]

    def _listening(self) -> None:
        # The connection before may have ended with the server, and that with the last commits: who waits says it again.
        self._waiting = None
        self.bell.ring()

    def _cancelled(self, attempt: str) -> None:
        for batch in self.slots.running():
            job_id = batch.job_of(attempt)
            if job_id is not None:
                self._on_loop(batch.interrupt, {job_id})

    def _interrupt(self, ids: Collection[str] | None) -> None:
        """Ends jobs without an outcome; None: all."""
        wanted = None if ids is None else set(ids)
        for batch in self.slots.running():
            self._on_loop(batch.interrupt, wanted)

    def _loop_answers(self) -> bool:
        """Asks the event loop for a sign of life, and says whether the last one is recent enough."""
        if self.broken and self._claiming:
            logger.error("the event loop has ended: a processor's own task raised SystemExit or KeyboardInterrupt")
            self._on_stop()
        self._on_loop(self._answer)
        return not self.broken and time.monotonic() - self._loop_answered < LOOP_ANSWER_SECONDS

    def _answer(self) -> None:
        self._loop_answered = time.monotonic()

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        # Not through a portal: that waits for the loop to take the call, and a processor may be blocking it.
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended, and what ran on it too
                self._loop.call_soon_threadsafe(call, *arguments)


def _within(seconds: float, call: Callable[[], object]) -> bool:
    """Calls it in a thread; False when it was not done within these seconds, and goes on without us."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
