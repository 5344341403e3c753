"""What people did, from the audit log: when, what, who."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.components import viewer
from dashboard.text import moment, utc


def lines(frame: pd.DataFrame, sentence: Callable[[Mapping[Any, Any]], str]) -> None:
    """A line for each entry; `sentence` has what was done and by whom (Markdown; what is not ours as code)."""
    if frame.empty:
        st.caption("Nothing yet.")
        return
    zone = viewer.zone()
    for row in frame.to_dict("records"):
        st.markdown(f":gray[{moment(row['at'], zone)}] {sentence(row)}", help=utc(row["at"]))
