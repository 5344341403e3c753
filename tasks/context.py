"""What a processor may ask of the job it runs for: its id and attempt, and telling how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CurrentJob:
    """The job that runs: its id (make idempotency keys of it), and which attempt this is, from 1."""

    id: str
    job_type: str
    attempt: int
    max_retries: int
    report: Callable[[float, str | None], None]


running_job: ContextVar[CurrentJob | None] = ContextVar("running_job", default=None)


def current_job() -> CurrentJob | None:
    """The job this code runs for; None when the processor was called directly, in a flow or notebook."""
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
