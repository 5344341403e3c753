"""What makes a PostgreSQL queue slow, before it does."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import answers, data
from dashboard.components import times
from dashboard.text import NOTHING, ago, code, count, duration, size, visible
from models.services import ServiceState
from models.store_health import CLOCK_SKEW_SECONDS, DEAD_ROWS, DEAD_SHARE, OLD_TRANSACTION_SECONDS, StoreHealth


def health(found: StoreHealth) -> None:
    """The warnings first, then the numbers they come from."""
    if found.warnings:
        for warning in found.warnings:
            st.warning(code(warning, 300), icon=":material/warning:")
    else:
        st.markdown("#### :green[:material/check_circle:] The store is in good order")
    tables = found.tables
    oldest = found.oldest_transaction_seconds
    with st.grid(4, min_column_width=150, gap="small"):
        st.metric(
            "Oldest transaction", "none" if oldest is None else duration(oldest), border=True, height="stretch",
            help=f"Dead rows stay until it ends; a warning from {duration(OLD_TRANSACTION_SECONDS)} on.",
        )  # fmt: skip
        st.metric(
            "Missed heartbeats", count(len(found.missed_heartbeats)), border=True, height="stretch",
            help="Workers whose last beat is too old.",
        )  # fmt: skip
        st.metric(
            "Clock skew", duration(abs(found.clock_skew_seconds)), border=True, height="stretch",
            help=f"The database's clock against this host's; a warning from {duration(CLOCK_SKEW_SECONDS)} on.",
        )  # fmt: skip
        total = float((tables["bytes"] + tables["index_bytes"]).sum())
        st.metric("Size", size(total), border=True, height="stretch", help="All tables with their indexes.")
    if oldest is not None and found.oldest_transaction_by:
        st.caption(f"The oldest transaction is of {code(found.oldest_transaction_by, 120)}.")
    _tables(tables)


def _tables(tables: pd.DataFrame) -> None:
    st.subheader("Tables", anchor=False)
    st.caption(
        f"Estimates of PostgreSQL's own. More than {count(DEAD_ROWS)} dead rows that are over {DEAD_SHARE:.0%} of a"
        " table slow the queue: autovacuum is behind, or held back."
    )
    now = answers.read(data.now).value
    config = st.column_config
    used = (tables["live_rows"] + tables["dead_rows"]) > 0
    empty = int((~used).sum())
    tables = tables[used]
    if tables.empty:
        st.caption("All tables are empty, as far as PostgreSQL has counted.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "table": [visible(each) for each in tables["table"]],
                "live": tables["live_rows"],
                "dead": tables["dead_rows"],
                "share": tables["dead_share"] * 100,
                "vacuum": [_since(each, now) for each in tables["last_vacuum"]],
                "size": [size(each) for each in tables["bytes"]],
                "indexes": [size(each) for each in tables["index_bytes"]],
            }
        ),
        hide_index=True,
        height="content",
        alt="The queue's tables: live and dead rows, last vacuum, sizes",
        column_config={
            "table": config.TextColumn("Table", pinned=True, width=170),
            "live": config.NumberColumn("Live rows", format="localized", width="small"),
            "dead": config.NumberColumn("Dead rows", format="localized", width="small"),
            "share": config.ProgressColumn("Dead share", format="%.0f%%", min_value=0, max_value=100, width="small"),
            "vacuum": config.TextColumn("Last vacuum", width="small"),
            "size": config.TextColumn("Size", alignment="right", width="small"),
            "indexes": config.TextColumn("Indexes", alignment="right", width="small"),
        },
    )
    if empty:
        st.caption(f"{count(empty)} {'table is' if empty == 1 else 'tables are'} empty.")


def _since(when: object, now: object) -> str:
    if not isinstance(when, pd.Timestamp) or pd.isna(when) or now is None:
        return "never"
    return ago((pd.Timestamp(now) - when).total_seconds())  # type: ignore[arg-type]


def breakers(found: list[ServiceState]) -> None:
    """The circuit breakers of what jobs reach."""
    if not found:
        st.caption("No service has given trouble.")
        return
    now = answers.read(data.now).value
    until = pd.to_datetime(pd.Series([each.open_until for each in found], dtype=object), utc=True)
    config = st.column_config
    st.dataframe(
        pd.DataFrame(
            {
                "service": [visible(each.service) for each in found],
                "breaker": [visible(each.breaker) for each in found],
                "since": [_since(pd.Timestamp(each.changed_at), now) for each in found],
                "until": until,
                "reason": [visible(each.reason) for each in found],
            }
        ),
        hide_index=True,
        height="content",
        alt="Services and their circuit breakers",
        placeholder=NOTHING,
        column_config={
            "service": config.TextColumn("Service", pinned=True, width=170),
            "breaker": config.TextColumn("Breaker", width="small"),
            "since": config.TextColumn("Since", width="small"),
            "until": times.column("Open until", until, times.CLOCK),
            "reason": config.TextColumn("Why it opened last", width="large"),
        },
    )
