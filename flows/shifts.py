"""A standing worker: one shift after the other, for ever, with Prefect's API there or not."""

from __future__ import annotations

import contextvars
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from flows.process_jobs import on_shift, process_jobs, standing_worker
from flows.shift import SHIFT_MINUTES, Shift
from flows.worker import Worker
from models.settings import settings

logger = logging.getLogger(__name__)

#: A shift did not begin, or broke off: pauses before the next try grow from the first to the second.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 10.0
#: How long a stopping worker waits for Prefect to note the end of its flow runs (it takes 0.6-1.1 s) ...
LAST_WORDS_SECONDS = 3.0
#: ... and until when at the latest, counted from the end of the grace period.
STOPPED_AFTER_GRACE_SECONDS = 3.5


class Shifts:
    """Runs `process_jobs` again and again in threads of its own; the next shift begins when this one stops claiming.

    Prefect installs signal handlers only in the main thread, where they raise at an arbitrary line; here there are
    none, and whoever owns the main thread decides when to `stop`.
    """

    def __init__(self, job_types: Sequence[str] | None = None, *, minutes: float = SHIFT_MINUTES) -> None:
        self._minutes = minutes
        #: Set when the worker was asked to stop through the database, or cannot go on.
        self.stop_requested = threading.Event()
        self.worker = Worker(job_types, on_stop=self._asked_to_stop)
        self._current: Shift | None = None
        self._flow_runs: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._loop, name="shifts", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self.worker.start()
        self._thread.start()

    def stop(self, grace: float | None = None) -> int:
        """Stops claiming, gives running jobs the grace period and the rest back; returns how many went back."""
        grace = settings().grace_period if grace is None else grace
        latest = time.monotonic() + grace + STOPPED_AFTER_GRACE_SECONDS
        released = self.worker.stop(grace)
        deadline = min(latest, time.monotonic() + LAST_WORDS_SECONDS)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        for flow_run in self._flow_runs:
            flow_run.join(max(0.0, deadline - time.monotonic()))
        return released

    @property
    def noted(self) -> bool:
        """Whether Prefect has noted the end of all flow runs, or never will."""
        return not any(flow_run.is_alive() for flow_run in self._flow_runs)

    def _asked_to_stop(self) -> None:
        self.worker.stop_claiming()
        self.stop_requested.set()
        # Who called `start_polling` in a notebook does not look. In a thread, as this is one of those that end.
        threading.Thread(target=self.stop, name="stop", daemon=True).start()

    def _loop(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self.worker.claiming:
            if self._run_shift():
                pause = FIRST_PAUSE_SECONDS
            else:
                self._until(lambda: False, seconds=pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _run_shift(self) -> bool:
        """Starts a shift and waits until the next is due; False when it did not begin, or broke off before."""
        before = self._current
        ended = threading.Event()
        flow_run = threading.Thread(
            target=contextvars.copy_context().run, args=(self._flow_run, before, ended), name="shift", daemon=True
        )
        flow_run.start()
        self._flow_runs = [*(thread for thread in self._flow_runs if thread.is_alive()), flow_run]
        # Prefect's API may be away, and this take its time; the shift before goes on claiming meanwhile.
        self._until(lambda: self._current is not before or ended.is_set())
        shift = self._current
        if shift is None or shift is before:
            return False
        self._until(lambda: shift.tired.is_set() or ended.is_set())
        return shift.tired.is_set()

    def _flow_run(self, before: Shift | None, ended: threading.Event) -> None:
        def begun(shift: Shift) -> None:
            if before is not None:
                before.relieve()
            self._current = shift
            self.worker.bell.ring()

        standing_worker.set(self.worker)
        on_shift.set(begun)
        try:
            process_jobs(drain=False, minutes=self._minutes)
        except Exception as error:
            logger.warning("a shift did not begin, broke off or ended unnoted by Prefect: %.300s", repr(error))
        finally:
            ended.set()
            self.worker.bell.ring()

    def _until(self, happened: Callable[[], bool], *, seconds: float = math.inf) -> None:
        """Waits for something to happen, or for the worker to stop."""
        deadline = time.monotonic() + seconds
        while True:
            heard = self.worker.bell.rings
            left = deadline - time.monotonic()
            if happened() or left <= 0 or not self.worker.claiming:
                return
            self.worker.bell.wait(heard, min(left, 60.0))
