"""The queue as the company's code sees it: add, retry, cancel, look, and poll in this process."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel
from sqlmodel import Session

from models import actions, enqueue, stats
from models.door import InvalidJobError, NewJob, check_job

_JOB_KEYS = ("type", "payload", "priority", "max_retries", "scheduled_for", "unique_key")


class _PollingWorker(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class JobQueue:
    """The operations on the queue. There is one, `models.job_queue`; it holds no connection and no jobs."""

    def __init__(self) -> None:
        self._worker: _PollingWorker | None = None
        self._lock = threading.Lock()

    def add_job(
        self,
        *,
        type: str,
        payload: Mapping[str, Any] | BaseModel | None = None,
        priority: int = 5,
        max_retries: int | None = None,
        scheduled_for: datetime | None = None,
        unique_key: str | None = None,
        session: Session | None = None,
    ) -> str:
        """Adds one job and returns its id.

        Args:
            type: a job type's name.
            payload: what the type's payload model takes, as a dict or as the model itself.
            priority: 1 (can wait) to 10 (first); see `calculate_priority`.
            max_retries: attempts after the first; None: the type's own default (3 unless it declares another).
            scheduled_for: not before this time (with a time zone); None: now.
            unique_key: at most one pending or processing job has it; if one does, nothing is added and its id is
                returned.
            session: the caller's session; the job then commits or rolls back with the caller's own data.

        Raises:
            InvalidJobError: (a ValueError) saying what was expected and what came; nothing is stored.
        """
        job = check_job(
            type=type,
            payload=payload,
            priority=priority,
            max_retries=max_retries,
            scheduled_for=scheduled_for,
            unique_key=unique_key,
        )
        return enqueue.store([job], session)[0]

    def add_batch(self, jobs: Iterable[Mapping[str, Any]], *, session: Session | None = None) -> list[str]:
        """Adds many jobs, all or none, and returns their ids in order. Each is a dict of `add_job`'s arguments.

        Raises:
            InvalidJobError: naming the first job that cannot be added, counted from 0; nothing is stored.
        """
        return enqueue.store([_checked(place, job) for place, job in enumerate(jobs)], session)

    def retry_job(self, job_id: str, *, who: str | None = None) -> bool:
        """Makes a failed or cancelled job pending again with a fresh retry budget; False when it is neither."""
        return actions.retry_job(job_id, who=who)

    def cancel_job(self, job_id: str, *, who: str | None = None) -> bool:
        """Cancels a pending or running job; False when it has ended already."""
        return actions.cancel_job(job_id, who=who)

    def get_stats(self) -> stats.QueueStats:
        """The queue's length, what runs, the concurrency and the counts by status."""
        return stats.get_stats()

    def start_polling(self) -> None:
        """Runs jobs in this process, in the background, until `stop_polling` (for notebooks and scripts).

        It is the same worker as `jobs worker`, with shifts as Prefect flow runs. Does nothing if it runs already.
        """
        with self._lock:
            if self._worker is None:
                # By name, as the worker lives above this package: `models` itself never imports Prefect.
                worker = importlib.import_module("flows.shifts").Shifts()
                worker.start()
                self._worker = worker

    def stop_polling(self) -> None:
        """Stops the worker of `start_polling`: running jobs get the grace period, then go back to pending."""
        with self._lock:
            if self._worker is not None:
                self._worker.stop()
                self._worker = None


def _checked(place: int, job: Mapping[str, Any]) -> NewJob:
    if not isinstance(job, Mapping):
        raise InvalidJobError(f"job {place}: expected a dict of add_job's arguments, got {job.__class__.__name__}")
    unknown = [key for key in job if key not in _JOB_KEYS]
    if unknown or "type" not in job:
        problem = f"got the unknown {unknown[0]!r:.60}" if unknown else "'type' is missing"
        raise InvalidJobError(f"job {place}: expected {', '.join(_JOB_KEYS)}; {problem}")
    try:
        return check_job(**job)
    except InvalidJobError as error:
        raise type(error)(f"job {place}: {error}") from None


job_queue = JobQueue()
