"""What waits, for how long, and until when? Pause types, limit them, add a job."""

import streamlit as st

from dashboard import answers, data, state
from dashboard.components import add_job, job_types, queue, shell
from models.filters import JobFilter

shell.begin("Queue", "What waits, for how long already, and when will it be done?")


def now() -> None:
    """What waits now."""
    shell.as_of()
    shell.panel(None, queue.numbers, data.queue_now)
    shell.panel("By type and priority", queue.by_type, data.backlog)
    left, right = st.columns(2)
    with left:
        shell.panel(None, queue.age_chart, data.ages, JobFilter())
    with right:
        shell.panel(None, queue.waits, data.waits, 24.0)
    shell.panel("Due next", queue.upcoming, data.next_scheduled, queue.NEXT)
    shell.panel("Job types", job_types.states, data.job_types)


shell.live(now)

# Without job types the table above says what to do.
if known := answers.read(data.job_types).value:
    left, right = st.columns(2)
    with left:
        st.subheader("Pause or limit", anchor=False)
        job_types.switches(known)
    with right:
        st.subheader("Add a job", anchor=False)
        add_job.form(known)

if (opened := state.dialog()) and opened.name == job_types.PAUSE:
    job_types.pause_dialog()
