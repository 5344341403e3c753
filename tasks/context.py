"""What a processor may ask of the job it runs for: its id and attempt, how far it is, what its stages take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Stage = Literal["fetch", "work", "record"]


@dataclass(frozen=True, slots=True)
class CurrentJob:
    """The job that runs: its id (make idempotency keys of it), and which attempt this is, from 1."""

    id: str
    job_type: str
    attempt: int
    max_retries: int
    report: Callable[[float, str | None], None]


running_job: ContextVar[CurrentJob | None] = ContextVar("running_job", default=None)
#: Seconds by stage of the attempt (of a whole batch, where the processor takes many).
stage_seconds: ContextVar[dict[str, float] | None] = ContextVar("stage_seconds", default=None)


def current_job() -> CurrentJob | None:
    """The job this code runs for; None when the processor was called directly, or takes a whole batch."""
    return running_job.get()


def report_progress(share: float, note: str | None = None) -> None:
    """Says how far the job is, for the dashboard: `share` done, 0 to 1, and a short note.

    Cheap enough to call in a loop: only the newest report is written, four times a second. Outside the queue it does
    nothing.

    Raises:
        ValueError: when `share` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share}")
    job = running_job.get()
    if job is not None:
        job.report(share, note)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Times a part of the processor: `fetch` (reading what it needs), `work` (its effect), `record` (writing it down).

    The seconds go into the roll-up, so that the dashboard shows which part of a type is slow. A stage may be entered
    more than once; stages do not nest.
    """
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = stage_seconds.get()
        if seconds is not None:
            seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began
