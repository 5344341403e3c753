"""The outbox: without a mail server each mail is a file in the data folder, for development and demonstrations."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from models.settings import settings
from models.write_once import write_once
from tasks.context import current_job


class DemoFailureError(Exception):
    """A failure on purpose, for demonstrations (JOB_QUEUE_DEMO_MAIL_FAILURES)."""


def outbox() -> Path:
    """The folder; it may not be there before the first mail."""
    return settings().data_dir / "outbox"


async def keep(message_id: str, content: bytes) -> bool:
    """Writes the mail as `<message_id>.eml`; False when that file is there already, complete, from an earlier attempt.

    Raises:
        OSError: when the folder cannot be written.
        DemoFailureError: see `fails_for_demo`.
    """
    share = settings().demo_mail_failures
    if share and fails_for_demo(message_id, share):
        raise DemoFailureError(f"outbox: failed on purpose, as JOB_QUEUE_DEMO_MAIL_FAILURES={share:g} asks for")
    return await asyncio.to_thread(write_once, outbox() / f"{message_id}.eml", content)


def fails_for_demo(message_id: str, share: float) -> bool:
    """Whether this attempt of the running job is to fail: the same answer for the same mail and attempt.

    Never the last attempt a job has, and never outside the queue, so that nothing fails for good.
    """
    job = current_job()
    if job is None or job.attempt > job.max_retries:
        return False
    digest = hashlib.sha256(f"{message_id} {job.attempt}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
