"""Who is signed in, in the sidebar, and the way out."""

from __future__ import annotations

import streamlit as st

from dashboard.access import Way, current_actor, way
from dashboard.text import code

_ROLES = {"operator": "may act", "viewer": "may look, not act"}


def show() -> None:
    """The viewer's name and role; nothing where nobody signs in."""
    if way() is Way.LOOPBACK:
        return
    actor = current_actor()
    with st.container(key="account", gap="xxsmall"):
        st.markdown(f":material/person: {code(actor.name, 60)} :gray[{_ROLES[actor.role]}]")
        # A page of the server's, not one of Streamlit's: its links would open another tab.
        st.html('<a href="/sign-out" target="_self" style="color: inherit">Sign out</a>')
