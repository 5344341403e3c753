"""One job whole: where it stands, its timeline, payload, result, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import answers, data, state
from dashboard.components import audit, job_details, shell, viewer
from dashboard.text import code, count, duration, moment, payload_text, utc, visible
from models import operations
from models.adding import ADD

ID = "id"
CANCEL = "cancel_one"
_LOOKS = {
    "pending": ("blue", "schedule", "waits"),
    "processing": ("blue", "play_circle", "runs"),
    "completed": ("green", "check_circle", "completed"),
    "failed": ("red", "error", "failed"),
    "cancelled": ("gray", "cancel", "cancelled"),
}


def search() -> None:
    """Goes to a job by its id."""
    with st.form("find_job", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Job id", key="find_id", value=state.place(ID) or "", type="search", width=420, max_chars=255)
        st.form_submit_button("Open", on_click=_find)


def _find() -> None:
    state.go_to(id=(st.session_state.get("find_id") or "").strip() or None)


def job(job_id: str) -> None:
    """The job of an id, or that there is none."""
    answer = answers.read(data.job, job_id)
    if answer.problem:
        st.warning(f"Not readable now: {answer.problem}.")
    if answer.value is None:
        if not answer.problem:
            st.info(
                "There is no job of that id. It may be past its retention; its figures are kept.",
                icon=":material/info:",
            )
        return
    found = answer.value
    failures = answers.read(data.failures, job_id).value or []
    _head(found)
    if found["error_message"] and found["status"] in ("failed", "pending"):
        last = failures[-1] if failures else {}
        job_details.error(found["error_message"], last.get("traceback"), key="job")
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.subheader("Timeline", anchor=False)
        _timeline(found, failures)
    with right:
        st.subheader("Payload", anchor=False)
        job_details.payload(found)
        if found["result"] is not None:
            st.subheader("Result", anchor=False)
            st.code(payload_text(found["result"]), language=None, wrap_lines=True)
    if failures:
        st.subheader("Failed attempts", anchor=False)
        job_details.attempts(failures)
    shell.panel("What people did to it", _audit, data.audit_of, job_id)


def _head(found: Mapping[str, Any]) -> None:
    colour, icon, word = _LOOKS.get(found["status"], ("gray", "help", "unknown"))
    st.markdown(f"### {code(found['job_type'], 60)} :{colour}[:material/{icon}: {word}]")
    facts = [
        ("Priority", str(found["priority"])),
        (
            "Attempts",
            f"{count(found['retry_count'] + (found['status'] != 'pending'))} of {count(found['max_retries'] + 1)}",
        ),
    ]
    if found["started_at"] and found["completed_at"]:
        facts.append(("Ran", duration((found["completed_at"] - found["started_at"]).total_seconds())))
    if found["started_at"]:
        facts.append(("Waited", duration(max(0.0, (found["started_at"] - found["scheduled_for"]).total_seconds()))))
    if found["lost_count"]:
        facts.append(("Workers lost", count(found["lost_count"])))
    with st.container(horizontal=True, vertical_alignment="center"):
        for name, value in facts:
            st.markdown(f":gray[{name}] **{value}**", width="content")
        if found["unique_key"]:
            st.markdown(f"Unique key {code(found['unique_key'], 80)}", width="content")
        _actions(found)
    if found["status"] == "processing" and found["progress"] is not None:
        st.progress(min(1.0, max(0.0, float(found["progress"]))))
        if found["progress_note"]:
            st.text(visible(found["progress_note"]))


def _actions(found: Mapping[str, Any]) -> None:
    may = viewer.may_act()
    if found["status"] in ("failed", "cancelled"):
        st.button(
            "Retry",
            on_click=_retry,
            args=(found["id"],),
            type="primary",
            disabled=not may,
            icon=":material/replay:",
            help=viewer.refusal(),
            key="retry_job",
        )
    if found["status"] in ("pending", "processing"):
        st.button(
            "Cancel", on_click=state.open_dialog, args=(CANCEL,), kwargs={"id": found["id"]}, disabled=not may,
            icon=":material/cancel:", help=viewer.refusal(), key="cancel_job",
        )  # fmt: skip


def _retry(job_id: str) -> None:
    shell.act(lambda: operations.retry([job_id], viewer.actor()))


@st.dialog("Cancel this job", on_dismiss=state.close_dialog)
def cancel_dialog() -> None:
    """What cancelling does, before."""
    opened = state.dialog()
    job_id = str(opened.about["id"]) if opened else ""
    st.write("The job is taken out of the queue, or interrupted where it runs; what it did so far stays done.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("Keep it", on_click=state.close_and_rerun, key="cancel_one_no")
        st.button("Cancel the job", type="primary", on_click=_cancel, args=(job_id,), key="cancel_one_yes")


def _cancel(job_id: str) -> None:
    shell.act(lambda: operations.cancel([job_id], viewer.actor()))


def _timeline(found: Mapping[str, Any], failures: list[dict[str, Any]]) -> None:
    """What happened when, as (time, icon, words): the words hold what is not ours only as code."""
    events: list[tuple[datetime, str, str]] = [(found["created_at"], "add_circle", "added")]
    if found["scheduled_for"] > found["created_at"] and not failures and found["status"] != "pending":
        events.append((found["scheduled_for"], "schedule", "due"))
    shown = failures[-job_details.MOST_ATTEMPTS :]
    for failure in shown:
        if failure["started_at"]:
            events.append((failure["started_at"], "play_arrow", f"attempt {failure['attempt']} began"))
        last = failure is shown[-1] and found["status"] == "failed"
        what = f"attempt {failure['attempt']} failed{' for good' if last else ''}: {code(failure['error_class'], 60)}"
        events.append((failure["failed_at"], "error", what))
    if found["started_at"] and found["status"] in ("processing", "completed", "cancelled"):
        worker = f" by {code(found['worker_id'], 60)}" if found["worker_id"] else ""
        events.append((found["started_at"], "play_arrow", f"attempt {found['retry_count'] + 1} began{worker}"))
    if found["status"] == "pending":
        events.append((found["scheduled_for"], "schedule", "due" if not failures else "next attempt due"))
    if found["completed_at"] and not (failures and found["status"] == "failed"):
        _, icon, word = _LOOKS.get(found["status"], ("", "help", "ended"))
        events.append((found["completed_at"], icon, word))
    _lines(events)
    with st.container(horizontal=True):
        job_details.prefect_links(found)


def _lines(events: list[tuple[datetime, str, str]]) -> None:
    zone = viewer.zone()
    before: datetime | None = None
    with st.container(gap="xsmall"):
        for when, icon, what in sorted(events, key=lambda event: event[0]):
            gap = f" :gray[:small[+{duration((when - before).total_seconds())}]]" if before and when > before else ""
            st.markdown(f":gray[{moment(when, zone)}] :material/{icon}: {what}{gap}", help=utc(when))
            before = when


def _audit(frame: pd.DataFrame) -> None:
    audit.lines(frame, lambda row: f"{code(row['action'], 60)} by {code(row['who'], 60)}{_together(row)}")


def _together(row: Mapping[Any, Any]) -> str:
    """Of jobs that were added in one go: how many others there were."""
    match row["detail"]:
        case {"jobs": int(added)} if added > 1 and row["action"] == ADD:
            return f", with {count(added - 1)} more"
    return ""
