"""`jobs worker` and `jobs drain`: a standing worker whose main thread owns the signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType

from flows.shift import SHIFT_MINUTES
from flows.shifts import LAST_WORDS_SECONDS, Shifts
from models import database
from models.lease import request_stop
from models.rescue import LEASE_SECONDS
from models.settings import settings

logger = logging.getLogger("jobs.worker")

#: How often the main thread looks whether it is to stop; a signal handler may take no lock, so nobody can wake it.
TURN_SECONDS = 0.1
#: How long it talks to a Prefect that does not seem to listen.
UNHEARD_SECONDS = 0.5
#: The process is gone so long after the grace period, whatever hangs.
GONE_AFTER_GRACE_SECONDS = 4.5


def run_worker(types: tuple[str, ...] = (), *, minutes: float = SHIFT_MINUTES) -> int:
    """Runs shifts until SIGTERM, SIGINT or `jobs drain`; leaves the process with 0, or 1 when it could not go on."""
    # By force: Prefect has set up the root logger when it was imported, for warnings only.
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for ours in ("models", "tasks", "flows", "jobs"):
        logging.getLogger(ours).setLevel(logging.INFO)
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    shifts = Shifts(job_types=types or None, minutes=minutes)
    shifts.start()
    print(f"worker {shifts.worker.worker_id} is running {shifts.worker.concurrency} batches at once; Ctrl-C stops it")
    sys.stdout.flush()
    while not received and not shifts.stop_requested.is_set():
        time.sleep(TURN_SECONDS)
    grace = settings().grace_period
    exit_code = 1 if shifts.worker.broken else 0
    gone_by = time.monotonic() + grace + GONE_AFTER_GRACE_SECONDS
    # Not sys.exit: a processor's abandoned thread, or Prefect's queue of events while its server is away, would hold
    # the process for as long as it likes.
    threading.Timer(grace + GONE_AFTER_GRACE_SECONDS, os._exit, [exit_code]).start()
    logger.info("stopping: running jobs have %g s to end", grace)
    released = shifts.stop(grace)
    logger.info("stopped; %d unfinished jobs went back to the queue", released)
    if not shifts.noted:
        logger.warning("Prefect has not noted the end of this worker's flow runs in time: there they go on running")
    # Prefect that did not note the end of a flow run takes no events either.
    _last_words(min(LAST_WORDS_SECONDS if shifts.noted else UNHEARD_SECONDS, gone_by - time.monotonic()))
    os._exit(exit_code)


def _last_words(seconds: float) -> None:
    """Leaves the embedded database, and lets Prefect send its last events and logs meanwhile."""

    def flush() -> None:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogHandler

        EventsWorker.drain_all(timeout=seconds)
        APILogHandler().flush()

    sending = threading.Thread(target=flush, daemon=True)
    sending.start()
    database.dispose()
    sending.join(max(0.0, seconds))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def drain_workers(
    *, worker: str | None = None, host: str | None = None, timeout: float = 120.0
) -> tuple[list[str], list[str]]:
    """Asks workers to stop and waits for them; returns those that have stopped and those that have not."""
    asked = request_stop(worker, host)
    deadline = time.monotonic() + timeout
    left = asked
    while left and time.monotonic() < deadline:
        with database.transaction() as connection:
            rows = connection.execute(
                "SELECT worker_id FROM workers WHERE worker_id = ANY (%s) AND stopped_at IS NULL"
                " AND beat_at > now() - %s * interval '1 second'",  # one that was killed meanwhile has stopped too
                [asked, LEASE_SECONDS],
            ).fetchall()
        left = [row[0] for row in rows]
        if left:
            time.sleep(0.25)
    return [name for name in asked if name not in left], left
