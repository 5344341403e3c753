"""The slots of a worker: how many batches run at once. Stragglers do not count, up to a bound of their own."""

from __future__ import annotations

import threading

from tasks.batch import Batch


class Slots:
    """The batches that a worker runs.

    Args:
        batches: how many may run at once, not counting those of which only stragglers are left.
        stragglers: how many jobs of those may be left.
    """

    def __init__(self, *, batches: int, stragglers: int) -> None:
        self._most_batches = batches
        self._most_stragglers = stragglers
        self._lock = threading.Lock()
        self._batches: set[Batch] = set()

    def add(self, batch: Batch) -> None:
        """Takes a slot, until only stragglers are left or the batch is removed."""
        with self._lock:
            self._batches.add(batch)

    def remove(self, batch: Batch) -> None:
        """Gives its slot back, whatever became of it."""
        with self._lock:
            self._batches.discard(batch)

    @property
    def free(self) -> bool:
        """Whether another batch may run. Beside one that is to run alone: none."""
        with self._lock:
            if any(batch.alone for batch in self._batches):
                return False
            stragglers = sum(batch.remaining for batch in self._batches if not batch.holds_slot)
            taken = sum(batch.holds_slot for batch in self._batches)
            return taken < self._most_batches and stragglers < self._most_stragglers

    @property
    def empty(self) -> bool:
        """Whether no batch is left, stragglers included."""
        return not self._batches

    def has_only(self, batch: Batch) -> bool:
        """Whether no other batch is left, stragglers included."""
        return self._batches == {batch}

    def running(self) -> list[Batch]:
        """The batches with jobs that have not ended."""
        with self._lock:
            return [batch for batch in self._batches if batch.remaining]
