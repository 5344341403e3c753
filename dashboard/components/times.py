"""Times in a table's column.

Streamlit 1.67 shows no tooltip over a cell: its grid asks a cell for one, and no column type sets it. So the column's
head says on hover which zone the times are in, and the switch in the sidebar shows all times in UTC.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from dashboard.components import viewer
from dashboard.figures import zone_label

SECONDS, MINUTES, CLOCK = "D MMM HH:mm:ss", "D MMM HH:mm", "HH:mm:ss"
_WIDTHS = {SECONDS: 125, MINUTES: 105, CLOCK: 80}


def column(label: str, times: pd.Series, format: str = SECONDS) -> ColumnConfig:
    """A column of points in time, in the viewer's zone.

    Args:
        times: the column itself, aware; its zone may be another distance from UTC at its end than at its beginning.
    """
    zone, known = viewer.zone(), times.dropna().sort_values()
    zones = dict.fromkeys(zone_label(zone, each) for each in (known.iloc[:1], known))
    note = " or ".join(zones) + ("" if zone.key == "UTC" else ". For UTC: **Times in UTC** in the sidebar.")
    return st.column_config.DatetimeColumn(label, format=format, timezone=zone.key, help=note, width=_WIDTHS[format])
