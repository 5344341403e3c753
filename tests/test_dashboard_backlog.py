"""The Overview's waiting, running and oldest: against the same moment a period ago, and drawn over time."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard import answers
from models import registry
from tests import support
from tests.pages import open_page, run, texts

pytestmark = pytest.mark.usefixtures("database", "nothing_cached")


def _sampled(minutes_ago: float, job_type: str = "", **columns: Any) -> None:
    support.query(
        f"INSERT INTO backlog_samples (job_type, bucket, resolution, {', '.join(columns)})"
        f" VALUES (%s, date_trunc('minute', now() - %s * interval '1 minute'), 1{', %s' * len(columns)})",
        job_type, minutes_ago, *columns.values(),
    )  # fmt: skip


def _figures(page: Any = None) -> dict[str, tuple[str, str, str]]:
    """What the overview's tiles say: value, change, and what it is compared with."""
    page = page or open_page("overview")
    return {metric.label: (metric.value, metric.delta, metric.proto.delta_description) for metric in page.metric}


def _a_day_ago() -> None:
    """Yesterday at this time: 8 jobs waited and 4 ran; of one type 2 and 1."""
    _sampled(1442, due=6, scheduled=2, running=4, oldest_seconds=60.0, oldest_most=60.0)
    _sampled(1442, "note", due=2, running=1, oldest_seconds=30.0, oldest_most=30.0)


def test_what_waits_and_runs_is_compared_with_the_same_moment_a_period_ago() -> None:
    _a_day_ago()
    for _ in range(3):
        support.insert()
    support.insert(scheduled_for="2100-01-01")
    support.held_by("worker-1")
    support.held_by("worker-1", job_type="other")
    support.query("UPDATE background_jobs SET scheduled_for = now() - interval '2 min' WHERE status = 'pending'"
                  " AND id = (SELECT min(id) FROM background_jobs WHERE status = 'pending')")  # fmt: skip

    found = _figures()

    assert found["Waiting now"] == ("4", "-50%", "before 8")
    assert found["Running now"] == ("2", "-50%", "before 4")
    value, change, before = found["Oldest waiting"]
    assert value.startswith("2 min") and change.startswith("+1") and before == "before 1 min"


def test_the_tiles_follow_the_filter_and_compare_only_what_the_samples_can_tell() -> None:
    registry.declare({"note": support.job_type()})
    _a_day_ago()
    for _ in range(3):
        support.insert(priority=9)
    support.insert()
    support.insert(job_type="other")
    support.held_by("worker-1")
    support.held_by("worker-1", job_type="other")

    page = open_page("overview")
    page.multiselect(key="type").select("note")
    of_note = _figures(run(page))
    page.multiselect(key="type").unselect("note")
    page.multiselect(key="priority").select(9)
    urgent = _figures(run(page))

    assert (of_note["Waiting now"], of_note["Running now"][::2]) == (("4", "+100%", "before 2"), ("1", "before 1"))
    assert (urgent["Waiting now"], urgent["Running now"]) == (("3", "", ""), ("0", "", ""))
    assert "by job type, not by priority" in texts(page)


def test_where_no_worker_sampled_nothing_is_compared() -> None:
    support.insert()
    _sampled(1500, due=6)

    assert _figures()["Waiting now"] == ("1", "", "")


def test_of_what_was_not_counted_to_the_end_no_change_is_told() -> None:
    support.insert()
    _sampled(1442, due=100_000, capped=True)

    assert _figures()["Waiting now"] == ("1", "", "before 100,000+")


def test_the_backlog_is_drawn_when_it_was_sampled_also_when_nothing_ended() -> None:
    page = open_page("overview")
    assert page.get("plotly_chart") == [] and "none did in this period" in texts(page)
    _sampled(300, due=6, oldest_seconds=5.0, oldest_most=5.0)
    answers.forget()

    page = open_page("overview")

    backlog, oldest = page.get("plotly_chart")
    assert "Nothing has ended in this period" in texts(page)
    assert "gaps: not sampled" in texts(page)
    assert "the most due, 6" in backlog.proto.alt and "the longest, 5.0 s" in oldest.proto.alt
