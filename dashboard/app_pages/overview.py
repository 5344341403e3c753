"""Is it healthy, and is it getting better or worse?"""

import streamlit as st

from dashboard import data, state
from dashboard.components import filters, overview, shell

shell.begin("Overview", "Is it healthy? Is it getting better or worse?")


def now() -> None:
    """What is so now; read again every few seconds."""
    shell.as_of()
    shell.panel(None, overview.headline, data.facts)


shell.live(now)

with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
    span = filters.span()
    chosen = filters.types_and_priorities()

shell.live(
    lambda: shell.panel(None, lambda found: overview.numbers(found, chosen), data.numbers, span.hours, chosen)
)
shell.live(
    lambda: shell.panel(None, overview.charts, data.charts, span.hours, span.step_minutes, chosen),
    least=state.CHART_SECONDS,
)
