"""What waits: by priority and type, for how long, what comes next, and until when."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import figures
from dashboard.components import times
from dashboard.components.charts import chart
from dashboard.text import count, duration, visible
from models.backlog import DrainEstimate

#: Jobs that become due next.
NEXT = 10


def numbers(found: tuple[pd.DataFrame, DrainEstimate, float | None]) -> None:
    """How much waits, how long already, and how much longer."""
    frame, estimate, oldest = found
    due, later = int(frame["due"].sum()), int(frame["scheduled"].sum())
    capped = bool(frame["capped"].any())
    with st.grid(4, min_column_width=150, gap="small"):
        st.metric("Due now", count(due, capped=capped), border=True, height="stretch")
        st.metric("For later", count(later, capped=capped), border=True, height="stretch", help="Back-offs included.")
        st.metric("Oldest due", "none" if oldest is None else duration(oldest), border=True, height="stretch")
        st.metric("Time to drain", drain_words(estimate), border=True, height="stretch", help=_rates(estimate))


def drain_words(estimate: DrainEstimate) -> str:
    """Under a minute, 4 to 12 min, not draining."""
    if estimate.low_seconds is None:
        return "not draining"
    if estimate.high_seconds is None:
        return "unclear"
    if not estimate.high_seconds:
        return "empty"
    low, high = (duration(round(each)) for each in (estimate.low_seconds, estimate.high_seconds))
    return low if low == high else f"{low} to {high}"


def _rates(estimate: DrainEstimate) -> str:
    return (
        f"{estimate.note}. In the last 5 minutes {estimate.arrivals_per_second:,.2g} jobs a second came in and"
        f" {estimate.completions_per_second:,.2g} ended."
    )


def by_type(frame: pd.DataFrame) -> None:
    """The lanes: a row for each type, a column for each priority that has jobs."""
    if frame.empty:
        st.success("Nothing waits.", icon=":material/check_circle:")
        return
    table = frame.pivot_table(index="job_type", columns="priority", values="due", aggfunc="sum", fill_value=0)
    table = table[sorted(table.columns, reverse=True)]
    totals = frame.groupby("job_type").agg(
        due=("due", "sum"), later=("scheduled", "sum"), oldest=("oldest_due_seconds", "max"), capped=("capped", "any")
    )
    shown = pd.DataFrame(
        {
            "type": [visible(each) for each in table.index],
            "due": [
                count(int(due), capped=bool(capped))
                for due, capped in totals.loc[table.index, ["due", "capped"]].itertuples(index=False)
            ],
            "oldest": [duration(each) for each in totals.loc[table.index, "oldest"]],
            "later": [count(each) for each in totals.loc[table.index, "later"]],
            **{f"p{each}": [count(value) if value else "" for value in table[each]] for each in table.columns},
        }
    )
    config = st.column_config
    st.dataframe(
        shown,
        hide_index=True,
        height="content",
        alt="Waiting jobs by type and priority",
        column_config={
            "type": config.TextColumn("Job type", pinned=True, width=170),
            "due": config.TextColumn("Due", alignment="right", width="small"),
            "oldest": config.TextColumn("Oldest", alignment="right", width="small"),
            "later": config.TextColumn("For later", alignment="right", width="small"),
            **{
                f"p{each}": config.TextColumn(f"Priority {each}", alignment="right", width="small")
                for each in table.columns
            },
        },
    )


def age_chart(frame: pd.DataFrame) -> None:
    """How long what is due has waited; nothing where nothing is due."""
    if not frame["jobs"].any():
        return
    chart("How long they have waited", figures.ages(frame), key="ages")


def upcoming(frame: pd.DataFrame) -> None:
    """What becomes due next."""
    if frame.empty:
        st.caption("Nothing is scheduled for later.")
        return
    config = st.column_config
    st.dataframe(
        pd.DataFrame(
            {
                "type": [visible(each) for each in frame["job_type"]],
                "in": [duration(round(each)) for each in frame["due_in_seconds"]],
                "at": frame["scheduled_for"],
                "why": [_why(row) for row in frame.itertuples()],
                "priority": frame["priority"],
            }
        ),
        hide_index=True,
        height="content",
        alt="The jobs that become due next",
        column_config={
            "type": config.TextColumn("Job type", pinned=True, width=170),
            "in": config.TextColumn("Due in", alignment="right", width="small"),
            "at": times.column("At", frame["scheduled_for"]),
            "why": config.TextColumn("Why", width="large"),
            "priority": config.NumberColumn("Priority", width="small"),
        },
    )


def _why(row: object) -> str:
    made = int(getattr(row, "attempts", 0))
    if not made:
        return "scheduled"
    error = getattr(row, "error_message", None)
    return f"attempt {made + 1}{f', after: {visible(error, 120)}' if error else ''}"


def waits(frame: pd.DataFrame) -> None:
    """How long jobs waited by priority, in the last day."""
    if frame.empty:
        return
    chart("Waiting time by priority, last 24 h", figures.waits_by_priority(frame), key="waits")
