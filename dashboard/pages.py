"""The dashboard's pages, as the Streamlit script that shows one of them; `dashboard/app.py` serves it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import state
from dashboard.components import account, viewer

_PAGES = Path(__file__).resolve().parent / "app_pages"


def main() -> None:
    """The navigation, the switch that keeps the page live, and the page."""
    st.set_page_config(page_title="Dirt Free jobs", layout="wide")
    page = st.navigation(
        {
            "": [_page("overview", "Overview", default=True)],
            "Jobs": [
                _page("active", "Active"),
                _page("queue", "Queue"),
                _page("failed", "Failed"),
                _page("history", "History"),
                _page("job", "Job"),
            ],
            "System": [_page("schedules", "Schedules"), _page("store", "Store")],
        },
        expanded=True,
    )
    with st.sidebar:
        _live()
        account.show()
    page.run()


def _page(name: str, title: str, *, default: bool = False) -> st.Page:
    # No icons: a page's icon becomes its tab's, and browsers fetch that from a server of Google's.
    return st.Page(_PAGES / f"{name}.py", title=title, url_path=name, default=default)


def _live() -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="live_switch"):
        live = st.toggle("Live", value=True, key=state.LIVE, persist_state="session")
        st.selectbox(
            "Refresh every", state.INTERVALS, format_func=lambda seconds: f"every {seconds} s", key=state.EVERY,
            persist_state="session", label_visibility="collapsed", disabled=not live, width=130,
        )  # fmt: skip
    if st.session_state.get("held"):
        st.caption("Paused while rows are chosen.")
    if viewer.own_zone().key != "UTC":
        st.toggle("Times in UTC", key=state.UTC, persist_state="session", help="In tables and charts too.")


if __name__ == "__main__":
    main()
