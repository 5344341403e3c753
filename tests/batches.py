"""A batch for a test to run by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows.worker import Worker
from tasks.batch import Batch


@contextmanager
def claimed_batch(job_type: str) -> Iterator[Batch]:
    """The first batch of the type that a worker of this process claims. What has not ended by then goes back."""
    worker = Worker((job_type,))
    worker.start()
    try:
        batch = worker.claim(None)
        assert isinstance(batch, Batch)
        yield batch
        worker.ended(batch)
    finally:
        worker.stop(grace=0)
