"""Retrying any number of failed jobs: what will happen and to how many before, how far it is, stop and undo."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import answers, data, state
from dashboard.components import shell, viewer
from dashboard.text import about, code, count, jobs, moment, utc
from models import operations
from models.filters import JobFilter

BULK = "bulk_retry"
#: Jobs a second; None: all at once.
RATES = (None, 1, 10, 50, 200)
#: What ended longer ago than this is history.
RECENT = timedelta(minutes=15)
_GOING_ON = ("running", "interrupted", "undoing")


def bulk_button(label: str, filter: JobFilter, *, key: str) -> None:
    """Opens the dialog that retries all jobs which pass the filter."""
    st.button(
        label,
        on_click=state.open_dialog,
        args=(BULK,),
        kwargs={"filter": filter},
        disabled=not viewer.may_act(),
        help=viewer.refusal(),
        icon=":material/replay:",
        key=key,
    )


@st.dialog("Retry failed jobs", on_dismiss=state.close_dialog)
def bulk_dialog() -> None:
    """The exact number before, how the last retries went, and at which rate."""
    opened = state.dialog()
    if opened is None:
        return
    filter: JobFilter = opened.about["filter"]
    with st.spinner("Counting…"):
        answer = answers.read(data.preview, filter)
    if answer.value is None:
        st.error(f"Not possible now: {answer.problem}.")
        return
    preview = answer.value
    if not preview.jobs:
        st.info("No failed job passes these filters any more.", icon=":material/info:")
        st.button("Close", on_click=state.close_and_rerun, key="bulk_no")
        return
    errors = f"{count(preview.groups)} {'error' if preview.groups == 1 else 'errors'}"
    st.markdown(
        f"**{jobs(preview.jobs, capped=preview.capped)}** with {errors} go back into the queue, each with a fresh"
        " number of attempts. Jobs that fail again meanwhile are not retried twice."
    )
    if preview.warning:
        st.warning(preview.warning, icon=":material/warning:")
    rate = st.selectbox("How fast", RATES, format_func=_rate_words, key="bulk_rate")
    if rate:
        st.caption(f"The last one becomes due in {about(preview.jobs / rate)}.")
    st.caption("You can stop it, and take back what has not started.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("Leave them", on_click=state.close_and_rerun, key="bulk_no")
        label = f"Retry {jobs(preview.jobs, capped=preview.capped)}"
        st.button(label, type="primary", on_click=_begin, args=(filter,), key="bulk_yes", disabled=not viewer.may_act())


def _rate_words(rate: int | None) -> str:
    return "all at once" if rate is None else f"{rate} a second"


def _begin(filter: JobFilter) -> None:
    rate = st.session_state.get("bulk_rate")
    # The browser's list of rates is no limit: the operation checks the number itself.
    speed = None if rate is None else float(rate)

    def begin() -> str:
        operations.begin_bulk_retry(filter, speed, viewer.actor())
        return f"The retry has begun, {_rate_words(rate)}: its progress is below."

    shell.act(begin)


def progress(frame: pd.DataFrame) -> None:
    """Bulk retries that run, or ended lately: how far they are, stop, go on, undo."""
    if frame.empty:
        return
    now = answers.read(data.now).value
    for row in frame.to_dict("records"):
        if row["action"] == BULK and (row["state"] in _GOING_ON or (now and now - row["updated_at"] < RECENT)):
            _action(row)


def _action(row: dict[Any, Any]) -> None:
    action_id, state_now = str(row["id"]), str(row["state"])
    done, undone, total = int(row["done"]), int(row["undone"]), row["total"]
    known = total is not None and total == total
    of = f" of {count(int(total))}" if known else ""
    with st.container(border=True, key=f"bulk_{action_id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            taken = f", {count(undone)} taken back" if undone else ""
            passed = f", {count(int(row['skipped']))} passed over" if row["skipped"] else ""
            st.markdown(
                f":material/replay: **Retry {state_now}**: {count(done)}{of} put back{passed}{taken}"
                f" :small[:gray[by {code(row['who'], 60)}, {moment(row['started_at'], viewer.zone())}]]",
                help=utc(row["started_at"]),
                width="stretch",
            )
            _buttons(action_id, state_now, done - undone)
        if state_now == "running" and known and total:
            st.progress(min(1.0, (done + int(row["skipped"])) / int(total)))


def _buttons(action_id: str, state_now: str, left: int) -> None:
    may = viewer.may_act()
    if state_now == "running":
        st.button(
            "Stop", on_click=_stop, args=(action_id,), disabled=not may, help=viewer.refusal(), key=f"stop_{action_id}"
        )
    if state_now in ("stopped", "interrupted"):
        st.button(
            "Go on", on_click=_go_on, args=(action_id,), disabled=not may, help=viewer.refusal(),
            key=f"go_on_{action_id}",
        )  # fmt: skip
    if state_now in ("done", "stopped") and left > 0:
        st.button(
            "Undo", on_click=_undo, args=(action_id,), disabled=not may, key=f"undo_{action_id}",
            help=viewer.refusal() or "Takes back what has not started.",
        )  # fmt: skip


def _stop(action_id: str) -> None:
    shell.act(lambda: _words(operations.stop_bulk(action_id, viewer.actor()), "Stopped.", "It had ended already."))


def _go_on(action_id: str) -> None:
    shell.act(lambda: _words(operations.resume_bulk(action_id, viewer.actor()), "Going on.", "It runs already."))


def _undo(action_id: str) -> None:
    shell.act(lambda: operations.undo(action_id, viewer.actor()), good=True)


def _words(done: bool, yes: str, no: str) -> str:
    return yes if done else no
