"""Who looks, and where they are."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import state
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


def refusal() -> str | None:
    """What a button that changes something says on hover to those who may not press it."""
    return None if may_act() else "Needs the operator role."


def own_zone() -> ZoneInfo:
    """The time zone of the viewer's browser."""
    return zone_of(st.context.timezone)


def zone() -> ZoneInfo:
    """The time zone that times are shown in: the viewer's own, or UTC where they chose that."""
    return ZoneInfo("UTC") if st.session_state.get(state.UTC) else own_zone()
