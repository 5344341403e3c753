"""Finished jobs, newest first, and the filtered set as a CSV file."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import data, state
from dashboard.components import pager, times
from dashboard.text import count, duration, visible
from models.filters import JobFilter
from models.listing import Page
from models.spreadsheet import csv_bytes

STATUSES = ("completed", "failed", "cancelled")
ROWS = 25
_TABLE = "history"
#: No payload: what is secret in it cannot be told from its beginning.
COLUMNS = (
    "id", "job_type", "status", "priority", "attempts", "max_retries", "created_at", "scheduled_for", "started_at",
    "completed_at", "wait_seconds", "run_seconds", "error_message", "worker_id",
)  # fmt: skip
_COLOURS = {"completed": "green", "failed": "red", "cancelled": "gray"}


def jobs(page: Page, filter: JobFilter) -> None:
    """One page; a chosen row is opened."""
    frame = page.frame
    if frame.empty and page.next_cursor is None:
        narrowed = filter != JobFilter(statuses=STATUSES)
        text = "No finished job passes these filters." if narrowed else "No job has ended yet. Active shows what runs."
        st.info(text, icon=":material/info:")
    elif not frame.empty:
        frame = state.as_chosen(_TABLE, frame)
        ids = list(frame["id"])
        event = st.dataframe(
            _shown(frame),
            hide_index=True,
            height="content",
            key=state.table_key(_TABLE),
            on_select="rerun",
            selection_mode="single-row",
            alt="Finished jobs, the newest first",
            column_config=_columns(frame),
        )
        rows = [row for row in event.selection.rows if row < len(ids)]
        if rows:
            state.clear_selection()
            st.switch_page("app_pages/job.py", query_params={"id": ids[rows[0]]})
    pager.buttons(page)


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "type": [visible(each) for each in frame["job_type"]],
            "outcome": [[each] for each in frame["status"]],
            "ended": frame["completed_at"],
            "ran": [duration(each) for each in frame["run_seconds"]],
            "waited": [duration(each) for each in frame["wait_seconds"]],
            "attempts": [
                f"{made} of {most + 1}" for made, most in zip(frame["attempts"], frame["max_retries"], strict=True)
            ],
            "priority": frame["priority"],
            "error": [visible(each) for each in frame["error_message"]],
            "added": frame["created_at"],
            "worker": [visible(each) for each in frame["worker_id"]],
        }
    )


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    config = st.column_config
    return {
        "type": config.TextColumn("Job type", pinned=True, width=170),
        "outcome": config.MultiselectColumn(
            "Outcome", options=list(STATUSES), color=[_COLOURS[each] for each in STATUSES], width=100
        ),
        "ended": times.column("Ended", frame["completed_at"]),
        "ran": config.TextColumn("Ran", alignment="right", width="small"),
        "waited": config.TextColumn("Waited", alignment="right", width="small", help="From due to begun"),
        "attempts": config.TextColumn("Attempts", width="small"),
        "priority": config.NumberColumn("Priority", width="small"),
        "error": config.TextColumn("Error", width="large"),
        "added": times.column("Added", frame["created_at"]),
        "worker": config.TextColumn("Worker", width="medium"),
    }


def download(filter: JobFilter) -> None:
    """The filtered set as CSV, made when it is asked for."""
    st.download_button(
        "Download CSV",
        data=lambda: csv_bytes(data.export(filter, COLUMNS)),
        file_name="jobs.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key="csv",
        help=f"All that pass the filters, at most {count(data.MOST_EXPORTED)}; times in UTC, without payloads.",
    )
