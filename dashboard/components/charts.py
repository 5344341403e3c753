"""A figure in its card."""

from __future__ import annotations

import streamlit as st

from dashboard.figures import Figure

#: No bar of tools: the charts are looked at, not worked on; dragging is off, so that a phone scrolls over them.
CONFIG = {"displayModeBar": False, "scrollZoom": False}


def chart(title: str, drawn: Figure, *, key: str, note: str = "") -> None:
    """A chart under its title; `key` is its own on the page, or two empty ones would be the same element.

    Args:
        note: ours, in small print beside the title: the axis' time zone.
    """
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{title}**{f' :gray[:small[{note}]]' if note else ''}")
        st.plotly_chart(drawn.figure, key=key, config=CONFIG, alt=drawn.alt)
