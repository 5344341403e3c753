"""What every page has: its title, what the last action did, and how fresh it is; and the parts that are read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import streamlit as st

from dashboard import answers, data, state
from dashboard.components import viewer
from dashboard.text import clock, plain, utc, visible
from models import operations

P = ParamSpec("P")
T = TypeVar("T")


def begin(title: str, question: str) -> None:
    """The head of a page: its title, what it answers, and what the last action did."""
    state.begin_page(title)
    st.title(title, anchor=False, help=question)
    _notice()


def live(body: Callable[[], None], *, least: float = 0.0) -> None:
    """A part of the page that is read again as often as the viewer wants it, at most each `least` seconds."""
    st.fragment(body, run_every=state.refresh_seconds(least))()


def as_of() -> None:
    """When this was so, by the database's clock, in the viewer's zone."""
    answer = answers.read(data.now)
    zone = viewer.zone()
    if answer.value is None or answer.problem:
        st.markdown(":small[:red[:material/cloud_off: the database does not answer]]")
    else:
        st.caption(f"as of {clock(answer.value, zone)} {plain(zone.key)}", help=utc(answer.value), width="content")


def panel(
    title: str | None, draw: Callable[[T], None], load: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> None:
    """A part that fails alone: what `load` answers, drawn; or what it answered last, with since when that is stale."""
    if title:
        st.subheader(title, anchor=False)
    answer = answers.read(load, *args, **kwargs)
    if answer.problem and answer.stale_since:
        st.markdown(
            f":small[:orange[:material/history: stale since {clock(answer.stale_since, viewer.zone())}:"
            f" {answer.problem}]]",
            help=utc(answer.stale_since),
        )
    elif answer.problem:
        st.markdown(f":small[:red[:material/cloud_off: Nothing to show: {answer.problem}.]]")
    if answer.value is not None:
        draw(answer.value)


def _notice() -> None:
    notice = state.notice()
    if notice is None:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="notice"):
        icon = ":green[:material/check_circle:]" if notice.good else ":orange[:material/info:]"
        st.markdown(icon, width="content")
        st.text(visible(notice.text, 400), width="stretch")
        if notice.action_id:
            st.button("Undo", on_click=_undo, args=(notice.action_id,), icon=":material/undo:", key="undo")
        if notice.job_id:
            st.page_link("app_pages/job.py", label="Open it", query_params={"id": notice.job_id}, width="content")
        st.button("Dismiss", on_click=state.dismiss, type="tertiary", key="dismiss")


def _undo(action_id: str) -> None:
    act(lambda: operations.undo(action_id, viewer.actor()), good=True)


def act(action: Callable[[], operations.ActionResult | str], *, good: bool | None = None) -> None:
    """Does something (in a callback), closes the dialog, lets go of the selection, and runs the page with the result.

    What cannot be done is said at the same place: to a viewer, that an operator can.
    """
    try:
        state.say(action(), good=good)
    except (PermissionError, ValueError, LookupError) as error:
        state.say(str(error), good=False)
    except answers.TROUBLE as error:
        state.say(f"not done, {answers.in_words(error)}", good=False)
    state.close_dialog()
    state.clear_selection()
    answers.refresh()
    st.rerun()
