"""The dashboard's pages, as the Streamlit script that shows one of them; `dashboard/app.py` serves it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import state
from dashboard.components import account

_PAGES = Path(__file__).resolve().parent / "app_pages"


def main() -> None:
    """The navigation, the switch that keeps the page live, and the page."""
    st.set_page_config(page_title="Dirt Free jobs", layout="wide")
    page = st.navigation(
        {
            "": [_page("overview", "Overview", "monitoring", default=True)],
            "Jobs": [
                _page("active", "Active", "play_circle"),
                _page("queue", "Queue", "stacks"),
                _page("failed", "Failed", "error"),
                _page("history", "History", "history"),
                _page("job", "Job", "search"),
            ],
            "System": [_page("schedules", "Schedules", "event_repeat"), _page("store", "Store", "database")],
        },
        expanded=True,
    )
    # Or the page's icon becomes the tab's, which browsers would fetch from a server of Google's.
    st.set_page_config(page_icon="🧹")
    with st.sidebar:
        _live()
        account.show()
    page.run()


def _page(name: str, title: str, icon: str, *, default: bool = False) -> st.Page:
    return st.Page(_PAGES / f"{name}.py", title=title, icon=f":material/{icon}:", url_path=name, default=default)


def _live() -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="live_switch"):
        live = st.toggle("Live", value=True, key=state.LIVE, persist_state="session")
        st.selectbox(
            "Refresh every", state.INTERVALS, format_func=lambda seconds: f"every {seconds} s", key=state.EVERY,
            persist_state="session", label_visibility="collapsed", disabled=not live, width=130,
        )  # fmt: skip
    if st.session_state.get("held"):
        st.caption("Paused while rows are chosen.")


if __name__ == "__main__":
    main()
