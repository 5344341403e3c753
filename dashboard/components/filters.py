"""The filters of a page, kept in its URL: it can be shared, bookmarked and reloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import streamlit as st

from dashboard import answers, data, state
from models.filters import TEXT_LIMIT, JobFilter, Period
from models.ids import can_be_stored

PRIORITIES = tuple(range(10, 0, -1))


@dataclass(frozen=True, slots=True)
class Span:
    """A period that can be chosen: its hours, and the minutes of a step of its charts."""

    hours: float
    step_minutes: int
    words: str


SPANS = {
    "1h": Span(1, 1, "the last hour"),
    "6h": Span(6, 5, "the last 6 hours"),
    "24h": Span(24, 60, "the last 24 hours"),
    "7d": Span(168, 180, "the last 7 days"),
    "30d": Span(720, 720, "the last 30 days"),
}


def span() -> Span:
    """The period, from an hour to thirty days."""
    chosen = st.segmented_control(
        "Period",
        list(SPANS),
        default="24h",
        key="period",
        bind="query-params",
        label_visibility="collapsed",
        required=True,
    )
    return SPANS.get(chosen or "24h", SPANS["24h"])


def types_and_priorities() -> JobFilter:
    """Job types and priorities; empty for all."""
    return JobFilter(job_types=_types(), priorities=_priorities())


def finished(statuses: Sequence[str]) -> JobFilter:
    """Which finished jobs: by text, type, priority, outcome (all of `statuses` if none is chosen), and when added."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        text, job_types, priorities = _text(), _types(), _priorities()
        chosen = tuple(
            st.multiselect("Outcome", statuses, key="status", bind="query-params", placeholder="all", width=180)
        )
        period = _since("Added")
    return JobFilter(job_types, priorities, chosen or tuple(statuses), text, period)


def failed() -> JobFilter:
    """Which failed jobs: by text, type, priority, and when they failed."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        text, job_types, priorities = _text(), _types(), _priorities()
        period = _since("Failed")
    return JobFilter(job_types, priorities, (), text, period)


def _since(label: str) -> Period | None:
    chosen = st.selectbox(
        label, ["", *SPANS], format_func=lambda name: SPANS[name].words if name else "any time",
        key="since", bind="query-params", width=165,
    )  # fmt: skip
    period = answers.read(data.last, SPANS[chosen].hours).value if chosen in SPANS else None
    # Up to now and beyond: what comes while one looks is in it too.
    return period and Period(period.start, period.end + timedelta(days=1))


def names_of_types() -> list[str]:
    """The job types that a worker has declared."""
    return [row["job_type"] for row in answers.read(data.job_types).value or []]


def _types() -> tuple[str, ...]:
    names = names_of_types()
    state.follow_link("type", names, several=True)
    return tuple(st.multiselect("Job type", names, key="type", bind="query-params", placeholder="all", width=210))


def _priorities() -> tuple[int, ...]:
    return tuple(
        st.multiselect("Priority", PRIORITIES, key="priority", bind="query-params", placeholder="all", width=130)
    )


def _text() -> str:
    text = (
        st.text_input(
            "Text in error or payload",
            key="text",
            bind="query-params",
            type="search",
            max_chars=TEXT_LIMIT,
            placeholder="part of a message, an id",
            help="Fields of a payload that are, or hold, a secret are not searched.",
            width=240,
        )
        or ""
    ).strip()
    # The browser's limit is no limit: anybody can write a URL.
    return text if len(text) <= TEXT_LIMIT and can_be_stored(text) else ""
