"""The operators' first look: how long the queue is, how it goes, what failed, and the button that retries it.

`dashboard/app.py` serves it.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import figures
from models import job_queue, lookup
from models.metrics import by_minute

#: Failed jobs shown at most; the newest matter.
SHOWN = 50
REFRESH = "5s"


def main() -> None:
    """The page."""
    st.set_page_config(page_title="Dirt Free jobs", layout="wide")
    st.title("Dirt Free jobs")
    hours = st.segmented_control("Period", [1, 3, 12, 48], default=3, format_func=lambda value: f"{value} h")
    st.fragment(_numbers, run_every=REFRESH)(float(hours or 3))
    _failed()


def _numbers(hours: float) -> None:
    stats = job_queue.get_stats()
    workers = lookup.live_workers()
    st.markdown(_verdict(stats.queue_length, len(workers), stats.failed))
    cells = st.columns(5)
    cells[0].metric("Waiting", f"{'about ' if stats.estimated else ''}{stats.queue_length:,}")
    cells[1].metric("Running", f"{stats.processing:,}")
    cells[2].metric("Completed", f"{stats.completed:,}")
    cells[3].metric("Failed", f"{stats.failed:,}")
    rate = stats.success_rate
    cells[4].metric("Success rate", "no jobs yet" if rate is None else f"{rate:.1%}")
    frame = by_minute(hours)
    if frame.empty:
        st.info("Nothing has ended in this period.")
        return
    st.plotly_chart(figures.throughput(frame), key="throughput")
    left, right = st.columns(2)
    left.plotly_chart(figures.run_time(frame), key="run_time")
    right.plotly_chart(figures.failure_rate(frame), key="failure_rate")


def _verdict(waiting: int, workers: int, failed: int) -> str:
    if waiting and not workers:
        return f"**{waiting:,} jobs wait and no worker is running.** Start one: `jobs worker`."
    if failed:
        return f"**{failed:,} jobs have failed for good.** They are below."
    return "**Healthy.**"


def _failed() -> None:
    st.subheader("Failed jobs")
    jobs = lookup.newest_jobs(status="failed", limit=SHOWN)
    if not jobs:
        st.caption("None.")
        return
    # The frame's rows are positions; the ids they stood for are kept, as the table may change under the selection.
    ids = [job.id for job in jobs]
    frame = pd.DataFrame(
        {
            "type": [job.job_type for job in jobs],
            "error": [job.error_message for job in jobs],
            "retries": [f"{job.retry_count}/{job.max_retries}" for job in jobs],
            "failed at": [job.completed_at for job in jobs],
            "id": ids,
        }
    )
    event = st.dataframe(frame, on_select="rerun", selection_mode="multi-row", hide_index=True, key="failed")
    chosen = [ids[row] for row in event.selection.rows if row < len(ids)]
    if st.button(f"Retry {len(chosen) or 'the selected'} jobs", disabled=not chosen, type="primary"):
        retried = sum(job_queue.retry_job(job_id, who="dashboard") for job_id in chosen)
        st.toast(f"{retried} of {len(chosen)} retried")
        st.rerun()


main()
