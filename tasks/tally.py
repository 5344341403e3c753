"""Counting what became of jobs, small enough to keep: endings, and histograms of wait and run time, by priority."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from models.histogram import bucket_of, quantile
from models.outcomes import Ending, Outcome


@dataclass(slots=True)
class Tally:
    """Endings by (priority, ending) and, for each priority, histograms of the seconds waited and run."""

    endings: Counter[tuple[int, str]] = field(default_factory=Counter)
    waits: dict[int, Counter[int]] = field(default_factory=dict)
    runs: dict[int, Counter[int]] = field(default_factory=dict)
    run_seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Counts one attempt."""
        priority = outcome.job.priority
        self.endings[priority, str(outcome.ending)] += 1
        if outcome.ending is Ending.SNOOZED:
            return
        self.waits.setdefault(priority, Counter())[bucket_of(outcome.waited)] += 1
        self.runs.setdefault(priority, Counter())[bucket_of(outcome.ran)] += 1
        self.run_seconds += outcome.ran

    def merge(self, other: Tally) -> None:
        """Adds another tally to this one."""
        self.endings.update(other.endings)
        self.run_seconds += other.run_seconds
        for mine, theirs in ((self.waits, other.waits), (self.runs, other.runs)):
            for priority, histogram in theirs.items():
                mine.setdefault(priority, Counter()).update(histogram)

    def ended(self, ending: str) -> int:
        """How many attempts ended like this (completed, retried, failed)."""
        return sum(jobs for (_, other), jobs in self.endings.items() if other == ending)

    def mean_run(self) -> float | None:
        """The mean seconds an attempt ran; None without attempts."""
        attempts = self.endings.total() - self.ended(Ending.SNOOZED)
        return self.run_seconds / attempts if attempts else None

    @property
    def priorities(self) -> list[int]:
        """The priorities that occur, the most urgent first."""
        return sorted({priority for priority, _ in self.endings}, reverse=True)

    def wait_quantile(self, share: float, priority: int | None = None) -> float | None:
        """Seconds that `share` of the attempts waited at most, of one priority or of all; None without attempts."""
        return quantile(_of(self.waits, priority), share)

    def run_quantile(self, share: float, priority: int | None = None) -> float | None:
        """Seconds that `share` of the attempts ran at most."""
        return quantile(_of(self.runs, priority), share)


def _of(histograms: dict[int, Counter[int]], priority: int | None) -> Counter[int]:
    if priority is not None:
        return histograms.get(priority, Counter())
    return sum(histograms.values(), Counter())
