"""One job's error, attempts and payload, as a part of other pages and of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import answers, data, prefect_api
from dashboard.components import viewer
from dashboard.text import block, code, count, duration, moment, payload_text, utc

#: Attempts that are shown; a job may have a thousand.
MOST_ATTEMPTS = 20


def schema_of(job_type: str) -> Mapping[str, Any] | None:
    """The payload's JSON Schema of a job type, for masking; None when no worker has declared it."""
    rows = answers.read(data.job_types).value or []
    return next((row["payload_schema"] for row in rows if row["job_type"] == job_type), None)


def error(message: str | None, traceback: str | None, *, key: str) -> None:
    """The message first (None: it is shown already), its traceback one click away."""
    if message is not None:
        st.code(block(message) or "no message", language=None, wrap_lines=True)
    if traceback:
        with st.expander("Traceback", key=f"traceback_{key}"):
            st.code(block(traceback), language=None, wrap_lines=False)


def payload(job: Mapping[str, Any]) -> None:
    """The payload, its secrets masked."""
    # No colours: Streamlit's own for JSON have a contrast of 2.7:1 on a light page.
    st.code(payload_text(job["payload"], schema_of(job["job_type"])), language=None, wrap_lines=True)


def attempts(failures: Sequence[Mapping[str, Any]]) -> None:
    """The failed attempts, the newest first, each with its error and links into Prefect."""
    newest = list(reversed(failures))[:MOST_ATTEMPTS]
    for place, failure in enumerate(newest):
        again = place > 0 and failure["message"] == newest[place - 1]["message"]
        with st.container(border=True, gap="small"):
            _attempt_head(failure)
            if again:
                st.caption("the same error")
            error(None if again else failure["message"], failure["traceback"], key=str(failure["id"]))
    if len(failures) > MOST_ATTEMPTS:
        st.caption(f"and {count(len(failures) - MOST_ATTEMPTS)} earlier ones")


def _attempt_head(failure: Mapping[str, Any]) -> None:
    when = moment(failure["failed_at"], viewer.zone())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**Attempt {count(failure['attempt'])}** {code(failure['error_class'], 80)} {when}",
            help=utc(failure["failed_at"]),
            width="content",
        )
        if failure["started_at"]:
            st.caption(
                f"after {duration((failure['failed_at'] - failure['started_at']).total_seconds())}", width="content"
            )
        if failure["worker_id"]:
            st.markdown(f":gray[by {code(failure['worker_id'], 60)}]", width="content")
        prefect_links(failure)


def prefect_links(run: Mapping[str, Any]) -> None:
    """Links to the flow run and the task run in Prefect's UI."""
    if run.get("flow_run_id"):
        st.markdown(f"[flow run]({prefect_api.flow_run_link(run['flow_run_id'])})", width="content")
    if run.get("task_run_id"):
        st.markdown(f"[task run]({prefect_api.task_run_link(run['task_run_id'])})", width="content")
