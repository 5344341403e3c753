"""What one viewer has in hand: what is refreshed, which dialog is open, what the last action did.

Not the filters: those are widgets bound to the URL (`components.filters`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.state.session_state_proxy import get_session_state

from dashboard.verdict import ONLY
from models.operations import ActionResult

#: Seconds between refreshes that a viewer may choose, and the one to begin with.
INTERVALS, INTERVAL = (5, 15, 60), 5
#: Charts change with their closed bucket, a minute at least.
CHART_SECONDS = 30.0
#: Prefect answers a dozen questions for a look at the schedules, which change by the minute.
PREFECT_SECONDS = 15.0
LIVE, EVERY, UTC = "live", "every", "utc"
_DIALOG, _NOTICE, _HELD, _ROUND = "open_dialog", "notice", "held", "selection_round"


@dataclass(frozen=True, slots=True)
class Dialog:
    """A dialog that is open: its name and what it is about."""

    name: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """What the last action did; `action_id`: it can be taken back; `job_id`: the job it made."""

    text: str
    good: bool = True
    action_id: str | None = None
    job_id: str | None = None


def refresh_seconds(least: float = 0.0) -> float | None:
    """How often a live part is read again; None while the switch is off, a row is chosen or a dialog is open."""
    if not st.session_state.get(LIVE, True) or st.session_state.get(_HELD) or st.session_state.get(_DIALOG):
        return None
    return max(least, float(st.session_state.get(EVERY) or INTERVAL))


def hold_while(chosen: bool) -> None:
    """Stops the refreshing as long as rows are chosen: a table's selection is positions, and rows would move under it.

    The timers belong to the whole page, so the page is run again when that changes.
    """
    if bool(st.session_state.get(_HELD)) != chosen:
        st.session_state[_HELD] = chosen
        st.rerun()


def begin_page(name: str) -> None:
    """Forgets the selection and dialog of the page that was left."""
    if st.session_state.get("page") != name:
        st.session_state["page"] = name
        for key in (_DIALOG, _HELD):
            st.session_state.pop(key, None)


def table_key(name: str) -> str:
    """The key of a table with a selection; another one after `clear_selection`, so that nothing is chosen any more."""
    return f"{name}_{st.session_state.get(_ROUND, 0)}"


def as_chosen(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with a selection as the viewer saw them when choosing.

    A selection is positions only, and on a live table the same positions become other jobs.
    """
    selection = st.session_state.get(table_key(name)) or {}
    kept = st.session_state.get(f"{name}_rows")
    if (selection.get("selection") or {}).get("rows") and isinstance(kept, pd.DataFrame):
        return kept
    st.session_state[f"{name}_rows"] = frame
    return frame


def clear_selection() -> None:
    """Lets go of all chosen rows."""
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.session_state[_HELD] = False


def open_dialog(name: str, /, **about: Any) -> None:
    """Opens a dialog (a button's on_click); it stays open over reruns until it is closed.

    The whole page is run: the button may be in a part that refreshes by itself, and the dialog is not.
    """
    st.session_state[_DIALOG] = Dialog(name, about)
    st.rerun()


def close_dialog() -> None:
    """Closes the dialog that is open."""
    st.session_state.pop(_DIALOG, None)


def close_and_rerun() -> None:
    """Closes the dialog that is open (a button's on_click inside it), and goes on refreshing."""
    close_dialog()
    st.rerun()


def dialog() -> Dialog | None:
    """The dialog that is open."""
    found = st.session_state.get(_DIALOG)
    return found if isinstance(found, Dialog) else None


def say(result: ActionResult | str, *, good: bool | None = None, job_id: str | None = None) -> None:
    """Keeps what an action did, for the top of the page."""
    if isinstance(result, str):
        st.session_state[_NOTICE] = Notice(result, True if good is None else good, job_id=job_id)
    else:
        st.session_state[_NOTICE] = Notice(result.text, bool(result.done) if good is None else good, result.action_id)


def notice() -> Notice | None:
    """What the last action did, until it is dismissed."""
    found = st.session_state.get(_NOTICE)
    return found if isinstance(found, Notice) else None


def dismiss() -> None:
    """Lets go of the notice."""
    st.session_state.pop(_NOTICE, None)


def go_to(**parameters: str | None) -> None:
    """Changes the page's place in the URL (in a callback): which group, which job, which page; None leaves it out."""
    for name, value in parameters.items():
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value
    st.rerun()


def place(name: str) -> str | None:
    """A part of the page's place in the URL."""
    found = st.query_params.get(name)
    return found or None


def follow_link(key: str, choices: Sequence[str], *, several: bool = False) -> None:
    """Gives the page's filter `key` the job type that a link of the dashboard's own asks for (`?only=`), once.

    To be called before the filter is made; what is not among the choices changes nothing. `several`: the filter's value
    is a list.

    Streamlit takes a parameter away, on the way to another page, that a filter of this page has, and lets a filter that
    has been shown before keep its value: a link that names the filter itself is ignored. Nor does it write the value
    into the URL of a page that has just been opened, or let `st.query_params` do so, as the filter of that name on the
    page before counts until this run ends. Without it the page could not be shared or reloaded, so it is written here
    by what Streamlit itself writes it with.
    """
    found = place(ONLY)
    if found is None:
        return
    del st.query_params[ONLY]
    if found in choices:
        st.session_state[key] = [found] if several else found
        with get_session_state().query_params() as parameters:
            parameters.set_corrected_value(key, found, "string_value")
