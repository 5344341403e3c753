"""Who looks, and where they are."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.access import current_actor
from dashboard.text import zone_of
from models.roles import Actor


def actor() -> Actor:
    """Who acts, for `models.operations`.

    Raises:
        PermissionError: when the session has ended.
    """
    return current_actor()


def may_act() -> bool:
    """Whether buttons that change something are of use; the operations refuse viewers themselves."""
    try:
        return actor().role == "operator"
    except PermissionError:
        return False


def zone() -> ZoneInfo:
    """The viewer's time zone."""
    return zone_of(st.context.timezone)
