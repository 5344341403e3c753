"""What runs now, and who runs it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import prefect_api, state
from dashboard.components import shell, times, viewer
from dashboard.text import NOTHING, ago, duration, jobs, visible
from models import operations

_TABLE = "active_jobs"
CANCEL = "cancel"
_LOST, _SLOW = "heartbeat lost", "slower than p95"
MARKS = {_LOST: "red", _SLOW: "orange"}
#: Rows of `listing.active_jobs`; more running jobs than this are said to be more.
MOST = 200


def running(frame: pd.DataFrame) -> None:
    """The running jobs; chosen ones can be cancelled."""
    if frame.empty:
        state.hold_while(False)
        st.info("Nothing runs at the moment. The Queue page shows what waits.", icon=":material/info:")
        return
    frame = state.as_chosen(_TABLE, frame)
    ids = list(frame["id"])
    event = st.dataframe(
        _shown(frame),
        hide_index=True,
        height="content" if len(frame) <= 20 else 740,
        key=state.table_key(_TABLE),
        on_select="rerun",
        selection_mode="multi-row",
        alt="Running jobs, the longest-running first",
        column_config={
            "type": st.column_config.TextColumn("Job type", pinned=True, width=170),
            "mark": st.column_config.MultiselectColumn(
                "Attention", options=list(MARKS), color=list(MARKS.values()), width=130
            ),
            "running": st.column_config.TextColumn("Runs for", alignment="right", width=90),
            "progress": st.column_config.ProgressColumn(
                "Progress", format="percent", min_value=0, max_value=1, width=120
            ),
            "note": st.column_config.TextColumn("Note", width=150),
            "left": st.column_config.TextColumn(
                "Left, about", alignment="right", width=90,
                help="By its own progress, or else by what half of the jobs of its type take.",
            ),
            "usual": st.column_config.TextColumn("Usually", help="p50 to p95 of its type, last 7 days", width=130),
            "started": times.column("Started", frame["started_at"], times.CLOCK),
            "priority": st.column_config.NumberColumn("Priority", width="small"),
            "attempt": st.column_config.NumberColumn("Attempt", width="small"),
            "worker": st.column_config.TextColumn("Worker", width="medium"),
        },
    )  # fmt: skip
    if len(frame) == MOST:
        st.caption(f"The {MOST} that have run longest.")
    chosen = [ids[row] for row in event.selection.rows if row < len(ids)]
    state.hold_while(bool(chosen))
    _actions(chosen)


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "type": [visible(each) for each in frame["job_type"]],
            "mark": [_marks(row) for row in frame.itertuples()],
            "running": [duration(each) for each in frame["running_seconds"]],
            "progress": frame["progress"],
            "note": [visible(each) for each in frame["progress_note"]],
            "left": [duration(each) for each in frame["eta_seconds"]],
            "usual": [
                f"{duration(low)} to {duration(high)}" if low == low else NOTHING
                for low, high in zip(frame["expected_p50"], frame["expected_p95"], strict=True)
            ],
            "started": frame["started_at"],
            "priority": frame["priority"],
            "attempt": frame["attempt"],
            "worker": [visible(each) for each in frame["worker_id"]],
        }
    )


def _marks(row: object) -> list[str]:
    if getattr(row, "heartbeat_lost", False):
        return [_LOST]
    return [_SLOW] if getattr(row, "slower_than_p95", False) else []


def _actions(chosen: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="active_actions"):
        st.button(
            f"Cancel {jobs(len(chosen))}" if chosen else "Cancel",
            disabled=not chosen or not viewer.may_act(),
            on_click=state.open_dialog,
            args=(CANCEL,),
            kwargs={"ids": chosen},
            icon=":material/cancel:",
            help=viewer.refusal(),
            key="cancel",
        )
        if len(chosen) == 1:
            st.page_link(
                "app_pages/job.py", label="Open this job", query_params={"id": chosen[0]}, icon=":material/search:"
            )
        elif not chosen:
            st.caption("Choose rows to cancel or open jobs; refreshing waits meanwhile.")


@st.dialog("Cancel running jobs", on_dismiss=state.close_dialog)
def cancel_dialog() -> None:
    """What cancelling does, and to how many, before."""
    opened = state.dialog()
    ids = list(opened.about.get("ids", ())) if opened else []
    st.write(
        f"**{jobs(len(ids))}** will be cancelled. The workers interrupt what runs; what was done so far stays done."
    )
    st.caption("Jobs that have ended meanwhile stay as they are.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.button("Keep them", on_click=state.close_and_rerun, key="cancel_no")
        st.button(f"Cancel {jobs(len(ids))}", type="primary", on_click=_cancel, args=(ids,), key="cancel_yes")


def _cancel(ids: list[str]) -> None:
    shell.act(lambda: operations.cancel(ids, viewer.actor()))


def workers(frame: pd.DataFrame) -> None:
    """The workers that have not signed off."""
    if frame.empty:
        st.info("No worker runs. Start one: `jobs worker`, or the whole stack: `make up`.", icon=":material/info:")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "worker": [visible(each) for each in frame["worker_id"]],
                "state": [visible(each) for each in frame["state"]],
                "running": frame["running"],
                "beat": [ago(each) for each in frame["beat_age_seconds"]],
                "host": [visible(each) for each in frame["host"]],
                "pid": [str(each) for each in frame["pid"]],
                "started": frame["started_at"],
                "types": [len(each) for each in frame["job_types"]],
                "run": [prefect_api.flow_run_link(each) if each else None for each in frame["flow_run_id"]],
            }
        ),
        hide_index=True,
        height="content",
        alt="Workers with their last heartbeat",
        placeholder=NOTHING,
        column_config={
            "worker": st.column_config.TextColumn("Worker", pinned=True, width=170),
            "state": st.column_config.TextColumn("State", width="small"),
            "running": st.column_config.NumberColumn("Running", width="small"),
            "beat": st.column_config.TextColumn("Last heartbeat", width=120),
            "host": st.column_config.TextColumn("Host", width="medium"),
            "pid": st.column_config.TextColumn("Process", width="small"),
            "started": times.column("Started", frame["started_at"], times.MINUTES),
            "types": st.column_config.NumberColumn("Job types", width="small"),
            "run": st.column_config.LinkColumn("Prefect run", display_text="open", width="small"),
        },
    )
