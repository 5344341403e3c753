"""Prefect's deployments: when they ran and will run, run now, pause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import answers, data, prefect_api, state
from dashboard.components import audit, shell, viewer
from dashboard.text import ago, code, duration, moment, prose, utc
from models.outside_actions import act_outside

RUN, PAUSE = "run_deployment", "pause_deployment"
_GOOD, _BAD = {"COMPLETED"}, {"FAILED", "CRASHED"}


def deployments(frame: pd.DataFrame) -> None:
    """One card each."""
    if frame.empty:
        st.info(
            "Prefect has no deployments yet: `make up` deploys them, or `prefect deploy --all`.", icon=":material/info:"
        )
        return
    for row in frame.to_dict("records"):
        _card(row)


def done(frame: pd.DataFrame) -> None:
    """What people did to the deployments."""
    audit.lines(frame, _done)


def _done(row: Mapping[Any, Any]) -> str:
    detail = row["detail"]
    outcome = f", {code(detail['outcome'], 30)}" if isinstance(detail, dict) and detail.get("outcome") else ""
    return f"{code(row['action'], 60)} {code(row['target'], 100)} by {code(row['who'], 60)}{outcome}"


def unreachable() -> None:
    """Where Prefect was looked for, and what to do."""
    st.warning(
        f"Prefect does not answer at {code(prefect_api.api_url(), 200)}. Jobs go on without it; schedules do not."
        " Start it with `make up`, or set `PREFECT_API_URL` to where it is.",
        icon=":material/cloud_off:",
    )


def _card(row: Mapping[Any, Any]) -> None:
    zone, identity = viewer.zone(), str(row["id"])
    with st.container(border=True, key=f"deployment_{identity}"):
        left, middle, right = st.columns([3, 2, 2], vertical_alignment="center")
        with left:
            paused = " :orange-badge[paused]" if row["paused"] else ""
            st.markdown(f"**{code(row['name'], 100)}**{paused}")
            if row["description"]:
                st.text(prose(row["description"], 200))
            st.markdown(f":gray[{code(row['schedule'], 100)}]")
        with middle:
            following = row["next_run"]
            words = "none" if pd.isna(following) else moment(following, zone)
            st.markdown(f":gray[Next] {words}", help=None if pd.isna(following) else utc(following))
            _last(row)
        with right, st.container(horizontal=True, horizontal_alignment="right"):
            _buttons(row, identity)


def _last(row: Mapping[Any, Any]) -> None:
    when = row["last_run"]
    if not row["last_run_id"] or pd.isna(when):
        st.markdown(":gray[Last] never")
        return
    state_now = str(row["last_state"] or "")
    colour = "green" if state_now.upper() in _GOOD else "red" if state_now.upper() in _BAD else "gray"
    now = answers.read(data.now).value
    since = ago((now - when).total_seconds()) if now else moment(when, viewer.zone())
    link = prefect_api.flow_run_link(str(row["last_run_id"]))
    took = f", {duration(row['last_seconds'])}" if row["last_seconds"] else ""
    st.markdown(
        f":gray[Last] [{since}]({link}) :{colour}[{code(state_now, 30).strip('`')}]{took}"
        if state_now.isalpha()
        else f":gray[Last] [{since}]({link}) {code(state_now, 30)}{took}",
        help=utc(when),
    )


def _buttons(row: Mapping[Any, Any], identity: str) -> None:
    may = viewer.may_act()
    about = {"id": identity, "name": str(row["name"]), "paused": not row["paused"]}
    st.button(
        "Run now", on_click=state.open_dialog, args=(RUN,), kwargs=about, disabled=not may, help=viewer.refusal(),
        key=f"run_{identity}",
    )  # fmt: skip
    if row["paused"]:
        st.button(
            "Resume",
            on_click=_set_paused,
            args=(identity, str(row["name"]), False),
            disabled=not may,
            help=viewer.refusal(),
            key=f"resume_{identity}",
        )
    elif row["schedule"] != "by hand":
        st.button(
            "Pause", on_click=state.open_dialog, args=(PAUSE,), kwargs=about, disabled=not may, help=viewer.refusal(),
            key=f"pause_{identity}",
        )  # fmt: skip
    st.link_button("Prefect", prefect_api.deployment_link(identity), icon=":material/open_in_new:", type="tertiary")


@st.dialog("Run it now", on_dismiss=state.close_dialog)
def run_dialog() -> None:
    """What running does, before."""
    opened = state.dialog()
    if opened is None:
        return
    st.markdown(
        f"Prefect starts one run of {code(opened.about['name'], 100)} beside its schedule, as soon as a worker is free."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("Not now", on_click=state.close_and_rerun, key="run_no")
        args = (opened.about["id"], opened.about["name"])
        st.button("Run now", type="primary", on_click=_run, args=args, key="run_yes")


@st.dialog("Pause its schedule", on_dismiss=state.close_dialog)
def pause_dialog() -> None:
    """What pausing does, before."""
    opened = state.dialog()
    if opened is None:
        return
    st.markdown(
        f"{code(opened.about['name'], 100)} does not run by its schedule until somebody resumes it;"
        " a run that has begun goes on."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("Let it run", on_click=state.close_and_rerun, key="pause_schedule_no")
        args = (opened.about["id"], opened.about["name"], True)
        st.button("Pause", type="primary", on_click=_pause, args=args, key="pause_schedule_yes")


def _run(deployment_id: str, name: str) -> None:
    def run() -> str:
        _ask("run_deployment", deployment_id, name, lambda: {"flow_run_id": prefect_api.run_now(deployment_id)})
        return f"{name}: a run was asked for."

    shell.act(run)


def _pause(deployment_id: str, name: str, paused: bool) -> None:
    _set_paused(deployment_id, name, paused)


def _set_paused(deployment_id: str, name: str, paused: bool) -> None:
    def change() -> str:
        action = "pause_deployment" if paused else "resume_deployment"
        _ask(action, deployment_id, name, lambda: prefect_api.set_paused(deployment_id, paused))
        return f"{name}: {'paused' if paused else 'resumed'}."

    shell.act(change)


def _ask(action: str, deployment_id: str, name: str, ask: Callable[[], Mapping[str, Any] | None]) -> None:
    detail = {"deployment_id": deployment_id}
    act_outside(viewer.actor(), action, name, ask, refusals=(prefect_api.PrefectRefusedError,), detail=detail)
