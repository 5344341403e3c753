"""Going through jobs page by page: the place is in the URL, opaque; pages are read in SQL, from there on."""

from __future__ import annotations

import streamlit as st

from dashboard import data, state
from models.filters import JobFilter
from models.listing import CursorError, Page

AFTER = "after"
_BEFORE = "pages_before"


def page(filter: JobFilter, rows: int) -> Page:
    """The page that the URL says; the first one when it says none, or one of another list."""
    try:
        return data.page(filter, state.place(AFTER), rows)
    except CursorError:
        return data.page(filter, None, rows)


def buttons(found: Page) -> None:
    """Older and newer."""
    here = state.place(AFTER)
    if here is None and found.next_cursor is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Newest", on_click=_first, disabled=here is None, icon=":material/first_page:", key="page_first")
        st.button(
            "Newer", on_click=_newer, disabled=here is None or not st.session_state.get(_BEFORE),
            icon=":material/chevron_left:", key="page_newer",
        )  # fmt: skip
        st.button(
            "Older", on_click=_older, args=(found.next_cursor,), disabled=found.next_cursor is None,
            icon=":material/chevron_right:", icon_position="right", key="page_older",
        )  # fmt: skip
        if found.next_cursor and len(found.frame) == 0:
            st.caption("Few jobs pass these filters: go on looking with Older.")


def _older(cursor: str) -> None:
    st.session_state[_BEFORE] = [*st.session_state.get(_BEFORE, []), state.place(AFTER)]
    _move(cursor)


def _newer() -> None:
    before = list(st.session_state.get(_BEFORE, []))
    place = before.pop() if before else None
    st.session_state[_BEFORE] = before
    _move(place)


def _first() -> None:
    st.session_state[_BEFORE] = []
    _move(None)


def _move(cursor: str | None) -> None:
    state.clear_selection()
    state.go_to(after=cursor)
