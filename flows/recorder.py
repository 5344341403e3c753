"""Writes outcomes in the background, many at once: a kill repeats a quarter of a second of work, not a batch."""

from __future__ import annotations

import logging
import threading

import psycopg

from models import database
from models.claims import ClaimedJob
from models.outcomes import Ending, Failure, Outcome, record, storable
from models.sql import statement

logger = logging.getLogger(__name__)

#: The longest an outcome waits for company before it is written.
FLUSH_SECONDS = 0.25
#: More than this many are written in several statements.
MOST_AT_ONCE = 1000
#: While the database is away, pauses between tries grow up to this.
LONGEST_PAUSE_SECONDS = 5.0
PROGRESS_NOTE_LIMIT = 500


class Recorder:
    """Collects outcomes and progress from the event loop and writes them from a thread of its own."""

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._changed = threading.Condition()
        self._outcomes: list[Outcome] = []
        self._being_written: list[Outcome] = []
        self._progress: dict[str, tuple[ClaimedJob, float, str | None]] = {}
        self._added = self._written = 0
        self._urgent = False
        self._stopping = self._given_up = False
        self._thread = threading.Thread(target=self._loop, name="recorder", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def stop(self, *, timeout: float) -> bool:
        """Writes what is left and ends; False when that took longer than `timeout` seconds (the database is away)."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._changed:
            self._given_up = self._thread.is_alive()
            self._changed.notify_all()
        return not self._given_up

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome; it is written within a quarter of a second."""
        with self._changed:
            self._outcomes.append(outcome)
            self._added += 1
            if len(self._outcomes) == 1 or len(self._outcomes) >= MOST_AT_ONCE:
                self._changed.notify_all()

    def unwritten(self) -> list[str]:
        """The ids of the jobs whose outcomes are not in the database yet."""
        with self._changed:
            return [outcome.job.id for outcome in (*self._being_written, *self._outcomes)]

    def report(self, job: ClaimedJob, share: float, note: str | None) -> None:
        """Takes a job's progress; only the newest is written."""
        with self._changed:
            self._progress[job.id] = (job, share, storable(note)[:PROGRESS_NOTE_LIMIT] if note is not None else None)
            self._changed.notify_all()

    def flush(self) -> None:
        """Waits until everything added so far is written, or nothing is written any more."""
        with self._changed:
            ticket = self._added
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._written >= ticket or self._given_up or not self._thread.is_alive()
            )

    def _loop(self) -> None:
        pause = FLUSH_SECONDS
        while not self._given_up:
            outcomes, progress = self._next()
            if not outcomes and not progress and self._stopping:
                return
            try:
                _write_progress(self._worker_id, progress)
                _write(self._worker_id, outcomes)
            except Exception as error:
                # Whatever it is, this thread must not end: nobody else writes, and the jobs would run for ever.
                logger.warning("outcomes cannot be written, trying again: %s", str(error).strip() or repr(error))
                with self._changed:
                    self._outcomes[:0] = outcomes
                    self._being_written = []
                    self._changed.wait_for(lambda: self._given_up, pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FLUSH_SECONDS
            with self._changed:
                self._being_written = []
                self._written += len(outcomes)
                self._changed.notify_all()

    def _next(self) -> tuple[list[Outcome], dict[str, tuple[ClaimedJob, float, str | None]]]:
        """Waits for something to write."""
        with self._changed:
            self._changed.wait_for(lambda: self._outcomes or self._progress or self._stopping)
            # Wait for company, unless somebody waits for us.
            self._changed.wait_for(
                lambda: self._urgent or self._stopping or len(self._outcomes) >= MOST_AT_ONCE, FLUSH_SECONDS
            )
            self._being_written, self._outcomes = self._outcomes[:MOST_AT_ONCE], self._outcomes[MOST_AT_ONCE:]
            progress, self._progress = self._progress, {}
            self._urgent = bool(self._outcomes) and self._urgent
            return self._being_written, progress


def _write(worker_id: str, outcomes: list[Outcome]) -> None:
    """Writes outcomes together, or one by one when one of them cannot be stored, so that it fails alone."""
    if not outcomes:
        return
    try:
        refused = record(worker_id, outcomes)
    except Exception as error:
        if not _is_about_the_data(error):
            raise
        if len(outcomes) > 1:
            for outcome in outcomes:
                _write(worker_id, [outcome])
            return
        logger.error("the outcome of job %s cannot be stored: %s", outcomes[0].job.id, error)
        record(worker_id, [_unstorable(outcomes[0], error)])
        return
    if refused:
        logger.warning("%d outcomes refused: the jobs had been rescued or cancelled meanwhile", len(refused))


def _is_about_the_data(error: Exception) -> bool:
    """Whether the values are at fault, and the same statement would fail for ever."""
    # Class 54: a limit of the server, for example a result nested too deeply for it.
    beyond_limit = isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("54")
    return beyond_limit or isinstance(error, psycopg.DataError | psycopg.IntegrityError | ValueError | OverflowError)


def _unstorable(outcome: Outcome, error: Exception) -> Outcome:
    return Outcome(
        job=outcome.job,
        job_type=outcome.job_type,
        ending=Ending.FAILED,
        elapsed=outcome.elapsed,
        waited=outcome.waited,
        ran=outcome.ran,
        task_run_id=outcome.task_run_id,
        failure=Failure("UnstorableOutcome", f"ended as {outcome.ending}, which could not be stored: {error!r:.500}"),
    )


def _write_progress(worker_id: str, progress: dict[str, tuple[ClaimedJob, float, str | None]]) -> None:
    if not progress:
        return
    ordered = [progress[job_id] for job_id in sorted(progress)]
    with database.transaction() as connection:
        connection.execute("SET LOCAL synchronous_commit = off")
        connection.execute(statement("along_the_indexes"))
        connection.execute(
            statement("record_progress"),
            {
                "worker_id": worker_id,
                "ids": [job.id for job, _, _ in ordered],
                "started_at": [job.started_at for job, _, _ in ordered],
                "shares": [share for _, share, _ in ordered],
                "notes": [note for _, _, note in ordered],
            },
        )
