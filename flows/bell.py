"""A bell that everyone hears. Two shifts and a stopping worker wait at the same time, and an Event that one of them
clears is missed by the others."""

from __future__ import annotations

import threading


class Bell:
    """Rung whenever something happened that a waiting thread should look at."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        """How often it has rung. Read it before you look at the state of things, then `wait` with it."""
        return self._rings

    def ring(self) -> None:
        """Wakes all who wait. Not from a signal handler: it takes a lock."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, seconds: float) -> bool:
        """Waits until it has rung more than `heard` times; False when it has not within `seconds`."""
        with self._condition:
            return self._condition.wait_for(lambda: self._rings > heard, seconds)
