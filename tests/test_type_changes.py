"""Who paused, resumed or limited a job type, and when: on the Queue page, for the type that is chosen there."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import access
from dashboard.components.job_types import CHANGES, change_words
from models import operations, registry
from models.roles import Actor, system_user
from tests import support
from tests.pages import click, open_page, run, texts

ANN, BOB = Actor("ann", "operator"), Actor("bob@example.com", "operator")


@pytest.fixture(autouse=True)
def declared(database: str, nothing_cached: None) -> None:
    registry.declare({"letter": support.job_type("letter"), "note": support.job_type()})


def _changes(page: AppTest) -> list[str]:
    """What the page says was done to the type, without the times."""
    return [each.value.partition("] ")[2] for each in page.markdown if " by `" in each.value]


def test_a_types_last_changes_are_told_with_what_and_who_the_newest_first() -> None:
    operations.pause("note", ANN)
    operations.set_limits("note", max_running=5, starts_per_second=0.5, actor=BOB)
    operations.set_limits("note", max_running=1_500_000, actor=ANN)
    operations.resume("note", BOB)
    operations.set_limits("note", max_running=None, starts_per_second=None, actor=ANN)

    assert _changes(open_page("queue", job_type="note")) == [
        "max running 1,500,000 → no limit, starts/s 0.5 → no limit by `ann`",
        "resumed by `bob@example.com`",
        "max running 5 → 1,500,000 by `ann`",
        "max running no limit → 5, starts/s no limit → 0.5 by `bob@example.com`",
        "paused by `ann`",
    ]


def test_another_type_has_its_own_changes() -> None:
    operations.pause("letter", ANN)
    operations.pause("note", BOB)
    page = open_page("queue", job_type="letter")
    assert _changes(page) == ["paused by `ann`"]
    page.selectbox(key="job_type").select("note")
    assert _changes(run(page)) == ["paused by `bob@example.com`"]


def test_a_change_that_was_just_made_is_there_and_a_type_without_any_says_so() -> None:
    page = open_page("queue", job_type="note")
    assert _changes(page) == [] and "Nothing yet." in texts(page)
    click(page, "pause")
    click(page, "pause_yes")
    assert _changes(page) == [f"paused by `{system_user()}`"]
    assert "Nothing yet." not in texts(page)


def test_the_time_is_the_viewers_and_utc_on_hover() -> None:
    operations.pause("note", ANN)
    support.query("UPDATE audit_log SET at = '2020-01-15 11:00:05+00'")
    (line,) = [each for each in open_page("queue", job_type="note").markdown if " by `ann`" in each.value]
    assert line.value == ":gray[15 Jan 2020 12:00:05] paused by `ann`"
    assert line.proto.help == "2020-01-15 11:00:05 UTC"


def test_only_the_last_ones_are_shown() -> None:
    for running in range(CHANGES + 3):
        operations.set_limits("note", max_running=running, actor=ANN)
    shown = _changes(open_page("queue", job_type="note"))
    assert len(shown) == CHANGES
    assert shown[0] == f"max running {CHANGES + 1} → {CHANGES + 2} by `ann`"


def test_a_large_limit_is_told_in_full() -> None:
    done = operations.set_limits("note", max_running=1_234_567, starts_per_second=1_000_000.0, actor=ANN)
    assert done.text == "note: at most 1,234,567 running and at most 1,000,000 started a second"
    (types,) = (each.value for each in open_page("queue").dataframe if "running" in each.value)
    (row,) = types[types["type"] == "note"].to_dict("records")
    assert (row["running"], row["rate"]) == ("1,234,567", "1,000,000")


def test_a_viewer_reads_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    operations.pause("note", ANN)
    monkeypatch.setattr(access, "visitor", lambda cookies: Actor("vera", "viewer"))
    page = open_page("queue", job_type="note")
    assert page.button(key="resume").disabled
    assert _changes(page) == ["paused by `ann`"]


@pytest.mark.parametrize(
    ("action", "detail", "words"),
    [
        ("set_limits", {"was": {"max_running": 5, "starts_per_second": None}, "max_running": 10}, "max running 5 → 10"),
        ("set_limits", {"was": {}, "starts_per_second": 1_000_000.0}, "starts/s no limit → 1,000,000"),
        ("set_limits", {"was": {"max_running": "**5**"}, "max_running": 10**400}, "max running `**5**` → `1000000000"),
        ("set_limits", {"was": {"max_running": 5}}, "`set_limits`"),
        ("set_limits", {"max_running": 5}, "`set_limits`"),
        ("set_limits", None, "`set_limits`"),
        ("[hold](x)", {}, "`[hold](x)`"),
    ],
)
def test_whatever_the_log_holds_is_told_as_text(action: str, detail: Any, words: str) -> None:
    assert change_words(action, detail).startswith(words)
