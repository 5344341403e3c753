"""Failed jobs by error: the groups, and one group with its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import answers, data, state
from dashboard.components import failed_jobs, retries, viewer
from dashboard.text import block, code, count, jobs, moment, utc, visible
from models.filters import JobFilter

#: Groups that are read, and those of one page of them.
MOST_GROUPS, SHOWN = 100, 8
GROUP = "group"
#: In the URL, the group of jobs that failed without a fingerprint (by plain SQL).
_NO_FINGERPRINT = "-"
_MESSAGE = 300


def opened() -> str | None:
    """The fingerprint of the group that is open, by the URL; None: the list."""
    found = state.place(GROUP)
    return "" if found == _NO_FINGERPRINT else found


def groups(frame: pd.DataFrame, filter: JobFilter) -> None:
    """The groups, the largest first, each with what can be done about it."""
    if frame.empty:
        narrowed = filter != JobFilter(statuses=filter.statuses)
        text = "No failed job passes these filters." if narrowed else "No job has failed for good. Nothing to do here."
        st.success(text, icon=":material/check_circle:")
        return
    capped = bool(frame.attrs.get("capped"))
    total = int(frame["jobs"].sum())
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        errors = f"{count(len(frame), capped=len(frame) == MOST_GROUPS)} {'error' if len(frame) == 1 else 'errors'}"
        st.markdown(f"**{jobs(total, capped=capped)}** failed with **{errors}**.", width="content")
        retries.bulk_button(f"Retry all {count(total, capped=capped)}", filter, key="retry_all")
    pages = -(-len(frame) // SHOWN)
    number = min(max(int(st.session_state.get("groups", 1) or 1), 1), pages)
    for row in frame.iloc[(number - 1) * SHOWN : number * SHOWN].to_dict("records"):
        _card(row, filter)
    if pages > 1:
        st.pagination(pages, key="groups", bind="query-params")


def _card(row: Mapping[Any, Any], filter: JobFilter) -> None:
    fingerprint = str(row["fingerprint"])
    with st.container(border=True, key=f"group_{_key(fingerprint)}"):
        left, right = st.columns([3, 1], vertical_alignment="top")
        with left:
            st.code(block(row["message"], _MESSAGE) or "no message", language=None, wrap_lines=True)
            _facts(row)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(
                    "Open", on_click=_open, args=(fingerprint,), key=f"open_{_key(fingerprint)}", icon=":material/list:"
                )
                one = JobFilter(filter.job_types, filter.priorities, (), filter.text, filter.period, fingerprint)
                retries.bulk_button(f"Retry {count(row['jobs'])}", one, key=f"retry_{_key(fingerprint)}")
        with right:
            st.metric(
                "Failed jobs",
                count(row["jobs"]),
                chart_data=list(row["trend"]) if any(row["trend"]) else None,
                chart_type="bar",
                help="The bars: failed attempts in each of the last 24 closed hours.",
            )


def _facts(row: Mapping[Any, Any]) -> None:
    zone = viewer.zone()
    kind = f" {code(row['error_class'], 60)}" if row["error_class"] else ""
    st.markdown(
        f"{code(row['job_type'], 60)}{kind} :gray[last {moment(row['last_seen'], zone)},"
        f" first {moment(row['first_seen'], zone)}]",
        help=f"Last {utc(row['last_seen'])}, first {utc(row['first_seen'])}",
    )
    again, retried = int(row["failed_again"]), int(row["retried_since"])
    if again:
        colour = "orange" if again * 2 > retried else "gray"
        words = f"Of {count(retried)} retried in the last 24 h, {count(again)} failed again."
        st.markdown(f":small[:{colour}[:material/replay: {words}]]")


def _open(fingerprint: str) -> None:
    state.clear_selection()
    state.go_to(group=fingerprint or _NO_FINGERPRINT, after=None)


def _close() -> None:
    state.clear_selection()
    state.go_to(group=None, after=None)


def group(fingerprint: str, filter: JobFilter) -> None:
    """One group: its error, what can be done about all of it, and its jobs."""
    st.button("All errors", on_click=_close, icon=":material/arrow_back:", type="tertiary", key="back")
    one = JobFilter(filter.job_types, filter.priorities, (), filter.text, filter.period, fingerprint)
    answer = answers.read(data.groups, one, 1)
    if answer.value is None:
        st.warning(f"Nothing to show: {answer.problem}.")
        return
    if answer.value.empty:
        state.hold_while(False)
        st.success("No job of this group is failed any more.", icon=":material/check_circle:")
        return
    row = answer.value.to_dict("records")[0]
    capped = bool(answer.value.attrs.get("capped"))
    st.code(block(row["message"]) or "no message", language=None, wrap_lines=True)
    _facts(row)
    with st.container(horizontal=True, vertical_alignment="center"):
        retries.bulk_button(f"Retry all {count(row['jobs'], capped=capped)} of this error", one, key="retry_group")
    failed_jobs.table(one)


def _key(fingerprint: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in visible(fingerprint, 80)) or "none"
