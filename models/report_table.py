"""The tables of a report: a frame with its title, what its columns are, and its totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from models.reports import Kind


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the frame: its heading, what it holds, and whether it has a sum."""

    name: str
    title: str
    kind: Kind
    total: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is the CSV file's, without its ending; `note` says what the figures mean."""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame

    def titled(self) -> pd.DataFrame:
        """The frame in the columns' order, with their headings."""
        frame = self.frame[[column.name for column in self.columns]]
        return frame.set_axis([column.title for column in self.columns], axis="columns")

    def totals(self) -> list[Any] | None:
        """The last row: sums, and "Total" in front; None where there is nothing to add up."""
        if self.frame.empty or not any(column.total for column in self.columns):
            return None
        row: list[Any] = [self.frame[column.name].sum() if column.total else None for column in self.columns]
        row[0] = "Total"
        return row


_CLOSED = (
    Column("won", "Deals won", "count", True),
    Column("lost", "Deals lost", "count", True),
    Column("revenue", "Revenue", "money", True),
)
_OPEN = (
    Column("opportunities", "Opportunities", "count", True),
    Column("overdue", "Overdue", "count", True),
    Column("value", "Estimated value", "money", True),
)
_COLUMNS: dict[str, tuple[str, str, tuple[Column, ...]]] = {
    "revenue": (
        "Revenue over time",
        "Days, weeks (from Monday) or months in UTC; a deal counts on the day it closed.",
        (Column("from_day", "From", "date"), *_CLOSED),
    ),
    "revenue_by_tier": (
        "Revenue by customer tier",
        "Deals without a customer are in the tier none.",
        (
            Column("tier", "Tier", "text"),
            *_CLOSED,
            Column("revenue_before", "Period before", "money", True),
        ),
    ),
    "deals": (
        "Largest deals won",
        "At most 25.",
        (
            Column("day", "Closed", "date"),
            Column("customer", "Customer", "text"),
            Column("revenue", "Revenue", "money", True),
            Column("title", "Deal", "text"),
            Column("tier", "Tier", "text"),
            Column("opportunity", "Opportunity", "text"),
        ),
    ),
    "pipeline_by_stage": (
        "Pipeline by stage",
        "Open opportunities as they stood when the report was made; overdue: expected to close before that day.",
        (Column("stage", "Stage", "text"), *_OPEN),
    ),
    "pipeline_by_tier": (
        "Pipeline by customer tier",
        "The same opportunities.",
        (Column("tier", "Tier", "text"), *_OPEN),
    ),
    "pipeline_by_age": (
        "Pipeline by age",
        "The same opportunities, by the days since they were made.",
        (Column("age", "Age", "text"), *_OPEN),
    ),
    "jobs": (
        "Job performance by type",
        "Success rate: completed / (completed + failed for good). Run and wait: the middle job, and the one that 95 of "
        "100 do not exceed, within 9 %.",
        (
            Column("job_type", "Job type", "text"),
            Column("completed", "Completed", "count", True),
            Column("failed", "Failed", "count", True),
            Column("retried", "Retried", "count", True),
            Column("success_rate", "Success rate", "percent"),
            Column("run_p50", "Run p50", "seconds"),
            Column("run_p95", "Run p95", "seconds"),
            Column("wait_p50", "Wait p50", "seconds"),
            Column("wait_p95", "Wait p95", "seconds"),
        ),
    ),
    "failures": (
        "Most frequent errors",
        "Of failed attempts, retried or not, as far as their jobs are still kept; at most 20.",
        (
            Column("job_type", "Job type", "text"),
            Column("error", "Error", "text"),
            Column("message", "Newest message", "text"),
            Column("failures", "Attempts", "count", True),
            Column("jobs", "Jobs", "count"),
            Column("last_failure", "Last (UTC)", "time"),
        ),
    ),
}


def tables(frames: dict[str, pd.DataFrame]) -> list[Table]:
    """The tables of a report's frames, in the order in which they are read."""
    return [Table(name, *_COLUMNS[name], frames[name]) for name in _COLUMNS]
