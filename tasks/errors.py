"""What a processor raises on purpose."""

from __future__ import annotations


class PermanentError(Exception):
    """For what no retry can mend: card declined, customer gone, setting missing. The job fails for good at once."""


class ServiceDownError(Exception):
    """A service did not answer, or said that it cannot just now. Retried; enough of them open its circuit breaker."""


class Snooze(Exception):
    """Puts the job off: pending again, due after `seconds`, the attempt not counted.

    For what is nobody's failure: quiet hours, a rate that is spent, a service that is known to be down.

    Raises:
        ValueError: when `seconds` is negative or no number.
    """

    def __init__(self, reason: str, *, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"seconds: expected 0 or more, got {seconds}")
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds
