"""A job type's switches: pause and resume, its limits, and why it is held."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import answers, data, state
from dashboard.components import audit, shell, viewer
from dashboard.text import NOTHING, about, clock, code, count, prose, utc, visible
from models import operations

PAUSE = "pause_type"
#: Of what was done to a type: more would push the form for a new job off a phone.
CHANGES = 5
_CHOSEN = "job_type"
_DONE = {"pause": "paused", "resume": "resumed"}
#: The limits in the audit log, and as the table's columns name them.
_LIMITS = {"max_running": "max running", "starts_per_second": "starts/s"}


def states(rows: Sequence[Mapping[str, Any]]) -> None:
    """All job types with what holds or limits them, and the form for one of them."""
    if not rows:
        st.info(
            "No job type is known yet: a worker declares them when it starts (`jobs worker`).", icon=":material/info:"
        )
        return
    now = answers.read(data.now).value
    config = st.column_config
    st.dataframe(
        pd.DataFrame(
            {
                "type": [visible(row["job_type"]) for row in rows],
                "state": [state_words(row, now) for row in rows],
                "running": [_limit(row["max_running"]) for row in rows],
                "rate": [_limit(row["starts_per_second"]) for row in rows],
                "reason": [_reason(row, now) for row in rows],
                "what": [first_sentence(row["description"]) for row in rows],
            }
        ),
        hide_index=True,
        height="content",
        alt="Job types, their state and limits",
        column_config={
            "type": config.TextColumn("Job type", pinned=True, width=170),
            "state": config.TextColumn("State", width=130),
            "running": config.TextColumn("Max running", alignment="right", width=100, help="Over all workers"),
            "rate": config.TextColumn("Starts/s", alignment="right", width=80, help="Over all workers"),
            "reason": config.TextColumn("Why held", width="medium"),
            "what": config.TextColumn("What it does", width="large"),
        },
    )


def first_sentence(description: str) -> str:
    """What a job type does, as its docstring begins."""
    return prose(re.split(r"\.\s", description, maxsplit=1)[0].strip().removesuffix("."))


def state_words(row: Mapping[str, Any], now: datetime | None) -> str:
    """runs, paused, held for 40 s."""
    if row["paused"]:
        return "paused"
    held = held_seconds(row, now)
    return "runs" if held is None else f"held, {about(held)} more"


def held_seconds(row: Mapping[str, Any], now: datetime | None) -> float | None:
    """How much longer a circuit breaker holds the type; None: not held."""
    until = row.get("held_until")
    if until is None or now is None or until <= now:
        return None
    return float((until - now).total_seconds())


def _reason(row: Mapping[str, Any], now: datetime | None) -> str:
    return visible(row["held_reason"]) if held_seconds(row, now) is not None else ""


def _limit(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.10g}"


def switches(rows: Sequence[Mapping[str, Any]]) -> None:
    """Pause, resume and limits of one type, and who last changed them."""
    if not rows:
        return
    names = [row["job_type"] for row in rows]
    state.follow_link(_CHOSEN, names)
    name = st.selectbox("Job type", names, key=_CHOSEN, bind="query-params", format_func=visible)
    row = next((each for each in rows if each["job_type"] == name), None)
    if row is None:
        return
    now = answers.read(data.now).value
    if (held := held_seconds(row, now)) is not None:
        st.warning(
            f"Held by its circuit breaker for {about(held)}; it goes on by itself.",
            icon=":material/pause_circle:",
        )
        st.code(visible(row["held_reason"], 500), language=None, wrap_lines=True)
        st.caption(f"until {clock(row['held_until'], viewer.zone())}", help=utc(row["held_until"]))
    may = viewer.may_act()
    if row["paused"]:
        st.button(
            "Resume",
            on_click=_resume,
            args=(name,),
            type="primary",
            disabled=not may,
            icon=":material/play_arrow:",
            help=viewer.refusal(),
            key="resume",
        )
    else:
        st.button(
            "Pause", on_click=state.open_dialog, args=(PAUSE,), kwargs={"job_type": name}, disabled=not may,
            icon=":material/pause:", help=viewer.refusal(), key="pause",
        )  # fmt: skip
    with st.form(f"limits_{name}", border=False):
        left, right = st.columns(2)
        left.number_input(
            "At most running",
            min_value=0,
            value=row["max_running"],
            placeholder="no limit",
            key=f"max_running_{name}",
            step=1,
        )
        right.number_input(
            "Starts a second",
            min_value=0.0,
            value=row["starts_per_second"],
            placeholder="no limit",
            key=f"starts_{name}",
            step=1.0,
        )
        st.caption("Over all workers; empty: no limit. What runs already goes on.")
        st.form_submit_button("Set limits", on_click=_set_limits, args=(name,), disabled=not may, help=viewer.refusal())
    shell.live(lambda: shell.panel("Last changes", _changes, data.audit_of, name, CHANGES))


def _changes(frame: pd.DataFrame) -> None:
    audit.lines(frame, lambda row: f"{change_words(row['action'], row['detail'])} by {code(row['who'], 60)}")


def change_words(action: str, detail: Any) -> str:
    """What was done to a job type: paused, resumed, max running no limit → 5."""
    if action == "set_limits" and isinstance(detail, dict) and isinstance(was := detail.get("was"), dict):
        changed = [name for name in _LIMITS if name in detail]
        words = [f"{_LIMITS[name]} {_told(was.get(name))} → {_told(detail[name])}" for name in changed]
        return ", ".join(words) or code(action, 60)
    return _DONE.get(action) or code(action, 60)


def _told(value: object) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, int | float) and abs(value) <= operations.MOST_RUNNING:
        return _limit(value)
    return code(value, 30)  # by plain SQL the log may hold anything


@st.dialog("Pause a job type", on_dismiss=state.close_dialog)
def pause_dialog() -> None:
    """What pausing does, and to how many, before."""
    opened = state.dialog()
    if opened is None:
        return
    name = str(opened.about["job_type"])
    pending = answers.read(data.backlog).value
    waiting = "Its jobs"
    if pending is not None:
        mine = pending[pending["job_type"] == name]
        number = int(mine["due"].sum() + mine["scheduled"].sum())
        waiting = f"The {count(number, capped=bool(mine['capped'].any()))} that wait"
    st.markdown(
        f"No job of {code(name)} is started until somebody resumes it. {waiting} stay in the queue; what runs goes on."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("Let it run", on_click=state.close_and_rerun, key="pause_no")
        st.button("Pause", type="primary", on_click=_pause, args=(name,), key="pause_yes")


def _pause(name: str) -> None:
    shell.act(lambda: operations.pause(name, viewer.actor()))


def _resume(name: str) -> None:
    shell.act(lambda: operations.resume(name, viewer.actor()))


def _set_limits(name: str) -> None:
    running, starts = st.session_state.get(f"max_running_{name}"), st.session_state.get(f"starts_{name}")
    shell.act(lambda: operations.set_limits(name, max_running=running, starts_per_second=starts, actor=viewer.actor()))
