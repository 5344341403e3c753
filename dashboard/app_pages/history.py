"""What has ended, and how?"""

import streamlit as st

from dashboard.components import filters, history, pager, shell

shell.begin("History", "What has ended, how, and how long did it take? Choose a row to open the job.")

chosen = filters.finished(history.STATUSES)


def now() -> None:
    """One page of finished jobs."""
    # Not at the right: the table's own tools, which appear there, would lie over it.
    with st.container(horizontal=True, vertical_alignment="center"):
        shell.as_of()
        history.download(chosen)
    shell.panel(None, lambda page: history.jobs(page, chosen), pager.page, chosen, history.ROWS)


shell.live(now)
