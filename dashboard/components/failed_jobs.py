"""The failed jobs of a group or filter, a page at a time; chosen ones are retried or looked at."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import answers, data, state
from dashboard.components import job_details, pager, shell, times, viewer
from dashboard.text import jobs, payload_line, visible
from models import operations
from models.filters import JobFilter
from models.listing import Page

_TABLE = "failed_jobs"
ROWS = 25


def table(filter: JobFilter) -> None:
    """The jobs, newest first; refreshing waits while rows are chosen."""
    shell.panel(None, lambda page: _draw(page, filter), pager.page, filter, ROWS)


def _draw(page: Page, filter: JobFilter) -> None:
    frame = page.frame
    if frame.empty:
        state.hold_while(False)
        st.info("No jobs on this page.", icon=":material/info:")
    else:
        _jobs(frame)
    pager.buttons(page)


def _jobs(frame: pd.DataFrame) -> None:
    frame = state.as_chosen(_TABLE, frame)
    ids = list(frame["id"])
    # Above the table: below 25 rows nobody sees what choosing one has brought.
    actions = st.container(horizontal=True, vertical_alignment="center", key="failed_actions")
    event = st.dataframe(
        pd.DataFrame(
            {
                "failed": frame["completed_at"],
                "error": [visible(each) for each in frame["error_message"]],
                "attempts": [
                    f"{made} of {most + 1}" for made, most in zip(frame["attempts"], frame["max_retries"], strict=True)
                ],
                "priority": frame["priority"],
                "payload": [
                    payload_line(each, job_details.schema_of(name))
                    for each, name in zip(frame["payload"], frame["job_type"], strict=True)
                ],
                "id": [visible(each) for each in ids],
            }
        ),
        hide_index=True,
        height="content",
        key=state.table_key(_TABLE),
        on_select="rerun",
        selection_mode="multi-row",
        alt="Failed jobs, the newest first",
        column_config={
            "error": st.column_config.TextColumn("Error", width="large"),
            "failed": times.column("Failed", frame["completed_at"]),
            "attempts": st.column_config.TextColumn("Attempts", width="small"),
            "priority": st.column_config.NumberColumn("Priority", width="small"),
            "payload": st.column_config.TextColumn("Payload", width="large"),
            "id": st.column_config.TextColumn("Id", width="medium"),
        },
    )
    chosen = [ids[row] for row in event.selection.rows if row < len(ids)]
    state.hold_while(bool(chosen))
    with actions:
        st.button(
            f"Retry {jobs(len(chosen))}" if chosen else "Retry chosen",
            disabled=not chosen or not viewer.may_act(),
            on_click=_retry,
            args=(chosen,),
            type="primary" if chosen else "secondary",
            icon=":material/replay:",
            help=viewer.refusal(),
            key="retry_chosen",
        )
        if not chosen:
            st.caption("Choose rows to retry them, or one to see it below the table.")
        elif len(chosen) == 1:
            _link(chosen[0])
    if len(chosen) == 1:
        _one(chosen[0])


def _link(job_id: str) -> None:
    st.page_link("app_pages/job.py", label="Open this job", query_params={"id": job_id}, icon=":material/search:")


def _retry(ids: list[str]) -> None:
    shell.act(lambda: operations.retry(ids, viewer.actor()))


def _one(job_id: str) -> None:
    found, failures = answers.read(data.job, job_id).value, answers.read(data.failures, job_id).value
    if found is None:
        st.info("This job is not there any more.", icon=":material/info:")
        return
    with st.container(border=True):
        last = failures[-1] if failures else {}
        job_details.error(found["error_message"], last.get("traceback"), key=f"chosen_{job_id}")
        st.markdown("**Payload**")
        job_details.payload(found)
