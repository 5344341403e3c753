"""One job whole: /job?id=..."""

import streamlit as st

from dashboard import state
from dashboard.components import job, shell

shell.begin("Job", "One job whole: what happened to it, and what can be done.")
job.search()
job_id = state.place(job.ID)


def now() -> None:
    """The job."""
    shell.as_of()
    if job_id:
        job.job(job_id)


if job_id:
    shell.live(now)
else:
    st.caption("Type a job's id, or choose a row on the History page.")

if (opened := state.dialog()) and opened.name == job.CANCEL:
    job.cancel_dialog()
