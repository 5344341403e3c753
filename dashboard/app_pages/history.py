"""What has ended, and how?"""

import streamlit as st

from dashboard.components import filters, history, pager, shell

shell.begin("History", "What has ended, how, and how long did it take? Choose a row to open the job.")

chosen = filters.finished(history.STATUSES)


def now() -> None:
    """One page of finished jobs."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        shell.as_of()
        history.download(chosen)
    shell.panel(None, history.jobs, pager.page, chosen, history.ROWS)


shell.live(now)
