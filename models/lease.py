"""A worker's lease on its jobs: a heartbeat from a thread and a connection of its own.

The beats stop when the event loop has not answered for 20 s (one blocking `async def` stalls every batch), so that the
jobs go to a worker that can run them. Only a worker with 30 s of unbroken beats of its own rescues others' jobs: after
an outage of the database everyone's beats are old, and everyone would rescue everyone.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import psycopg

from models import database
from models.backlog_samples import Sampler
from models.rescue import LEASE_SECONDS, UnknownTypeWatch, rescue_lost_jobs
from models.schema import CONNECT_TIMEOUT_SECONDS
from models.sql import statement

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
#: The loop's turn: rescues are looked for this often, so that a kill is noticed within the lease plus one second.
TURN_SECONDS = 1.0
#: Two missed beats and a bit: the beats are no longer unbroken.
UNBROKEN_GAP_SECONDS = 12.0
#: A claimed job runs here within milliseconds; one that does not after this long never will.
FORGOTTEN_SECONDS = 10.0
#: Workers that ended this long ago are forgotten.
FORGET_WORKERS_AFTER = "1 day"


class Lease:
    """Keeps a worker's lease while it runs: beats, rescues, watches unknown types, samples the backlog, and learns what
    it has lost.

    Args:
        worker_id: the worker's name in `workers` and in its jobs.
        job_types: the types it knows.
        responsive: whether the worker can still do its work; while it says no, no beat is sent.
        held_jobs: the ids of the jobs that run here, or whose outcome is not written yet.
        on_stop: called once when somebody has asked this worker to stop (`jobs drain`).
        on_lost: called with the ids of running jobs that are no longer this worker's (cancelled or rescued).
    """

    def __init__(
        self,
        *,
        worker_id: str,
        job_types: Sequence[str],
        responsive: Callable[[], bool],
        held_jobs: Callable[[], Collection[str]],
        on_stop: Callable[[], None],
        on_lost: Callable[[Collection[str]], None],
    ) -> None:
        self.worker_id = worker_id
        self.flow_run_id: str | None = None
        self._job_types = list(job_types)
        self._responsive = responsive
        self._held_jobs = held_jobs
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)
        self._connection: psycopg.Connection[Any] | None = None
        self._unknown_types = UnknownTypeWatch()
        self._sampler = Sampler()
        self._last_beat = self._last_beat_by_the_wall = 0.0
        self._unbroken_since = 0.0
        self._stop_seen = False
        #: For a row that is made anew: a worker that waits and does not say so is not woken.
        self._waiting = False

    def start(self) -> None:
        """Registers the worker, then beats in the background."""
        self._register(self._connected())
        self._unbroken_since = time.monotonic()
        self._has_beaten()
        self._thread.start()

    def stop(self) -> None:
        """Ends the beats and says so in `workers`; what the worker still held by then is anybody's to rescue."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            self._connected().execute(
                "UPDATE workers SET stopped_at = now(), waiting = false WHERE worker_id = %s", [self.worker_id]
            )
        except psycopg.Error as error:
            logger.warning("could not sign off in the database (the lease will run out by itself): %s", error)
        self._disconnect()

    def wait_for_work(self, waiting: bool) -> None:
        """Says in `workers` whether this worker is idle and wants to be notified."""
        self._waiting = waiting
        with database.transaction() as connection:
            # If a crash of the server forgets it, the worker says it again; the commit need not wait for the disk.
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(
                "UPDATE workers SET waiting = %s WHERE worker_id = %s AND waiting <> %s",
                [waiting, self.worker_id, waiting],
            )

    def _loop(self) -> None:
        while not self._stopping.wait(TURN_SECONDS):
            try:
                self._turn()
            except Exception as error:
                # Whatever it is, this thread must not end: without beats, what runs here runs again elsewhere.
                logger.warning("the heartbeat failed and is tried again: %s", str(error).strip() or repr(error))
                self._disconnect()

    def _turn(self) -> None:
        if self._since_beat() >= BEAT_SECONDS:
            if not self._responsive():
                logger.error("the event loop does not answer; no heartbeat is sent until it does")
                return
            self._beat()
            if self._since_beat() > UNBROKEN_GAP_SECONDS:
                self._unbroken_since = time.monotonic()
                self._unknown_types.forget()
            self._has_beaten()
            self._unknown_types.look(self._connected())
            self._look_for_lost()
            self._sampler.look(self._connected())
        if self._since_beat() <= UNBROKEN_GAP_SECONDS and time.monotonic() - self._unbroken_since >= LEASE_SECONDS:
            rescued = rescue_lost_jobs(self._connected())
            if rescued:
                logger.warning("put back %d jobs of dead workers", rescued)

    def _has_beaten(self) -> None:
        self._last_beat, self._last_beat_by_the_wall = time.monotonic(), time.time()

    def _since_beat(self) -> float:
        # While the machine sleeps the monotonic clock stands still, and the database's does not: all beats are old.
        # The wall clock alone would not do, as it may be set back.
        return max(time.monotonic() - self._last_beat, time.time() - self._last_beat_by_the_wall)

    def _beat(self) -> None:
        connection = self._connected()
        row = connection.execute(
            statement("beat"), {"worker_id": self.worker_id, "flow_run_id": self.flow_run_id}
        ).fetchone()
        if row is None:
            self._register(connection)
        elif row[0] and not self._stop_seen:
            self._stop_seen = True
            self._on_stop()

    def _look_for_lost(self) -> None:
        held = list(self._held_jobs())
        self._give_back_forgotten(held)
        if not held:
            return
        rows = self._connected().execute(statement("lost_jobs"), {"ids": held, "worker_id": self.worker_id})
        lost = [row[0] for row in rows]
        if lost:
            self._on_lost(lost)

    def _give_back_forgotten(self, held: Sequence[str]) -> None:
        """Gives back what is this worker's in the database only: a claim's answer, or a release, was lost."""
        connection = self._connected()
        rows = connection.execute(
            "SELECT id FROM background_jobs WHERE status = 'processing' AND worker_id = %s"
            " AND started_at < now() - %s * interval '1 second' AND id <> ALL (%s::text[])",
            [self.worker_id, FORGOTTEN_SECONDS, held],
        ).fetchall()
        if rows:
            connection.execute(
                statement("release_jobs"), {"worker_id": self.worker_id, "ids": [row[0] for row in rows]}
            )
            connection.execute("NOTIFY background_jobs")
            logger.warning("gave back %d jobs that were claimed for this worker and do not run here", len(rows))

    def _register(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            statement("register_worker"),
            {
                "worker_id": self.worker_id,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "job_types": self._job_types,
                "waiting": self._waiting,
            },
        )
        connection.execute(
            f"DELETE FROM workers WHERE coalesce(stopped_at, beat_at) < now() - interval '{FORGET_WORKERS_AFTER}'"
        )

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = database.connect(application_name="dirtfree-jobs lease")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def release_jobs(worker_id: str, ids: Collection[str] | None = None) -> int:
    """Gives jobs back that a stopping worker holds (all of them, or those named): pending at once, not counted."""
    with database.transaction() as connection:
        rows = connection.execute(
            statement("release_jobs"), {"worker_id": worker_id, "ids": None if ids is None else list(ids)}
        ).fetchall()
        if rows:
            connection.execute("NOTIFY background_jobs")
    return len(rows)


def request_stop(worker_id: str | None = None, host: str | None = None) -> list[str]:
    """Asks workers to stop claiming, finish and exit: all live ones, the one named, or a host's. Returns their ids."""
    with database.transaction() as connection:
        rows = connection.execute(
            "UPDATE workers SET stop_requested = true WHERE stopped_at IS NULL"
            " AND beat_at > now() - %s * interval '1 second'"
            " AND (%s::text IS NULL OR worker_id = %s) AND (%s::text IS NULL OR host = %s) RETURNING worker_id",
            [LEASE_SECONDS, worker_id, worker_id, host, host],
        ).fetchall()
    return [row[0] for row in rows]
