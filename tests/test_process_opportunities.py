"""The hourly selection: which opportunities, how urgent, queued once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from crm_rows import add_customer, add_opportunity, add_promotion, execute, rows
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from flows import process_opportunities as flow_module
from models.opportunities import determine_urgency, open_opportunities
from models.priority import URGENCY_POINTS

TODAY = date(2026, 6, 15)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
WORDS = ["low", "medium", "high", "critical"]

days = st.integers(-4000, 4000)


def closing_in(number: int) -> date:
    return TODAY + timedelta(days=number)


# ---- urgency


@pytest.mark.parametrize(
    ("closes_in", "urgency"),
    [
        (-400, "critical"), (-1, "critical"), (0, "critical"), (3, "critical"),
        (4, "high"), (14, "high"), (15, "medium"), (45, "medium"), (46, "low"), (400, "low"),
    ],
)  # fmt: skip
def test_the_nearer_the_close_the_more_urgent(closes_in: int, urgency: str) -> None:
    assert determine_urgency(closing_in(closes_in), NOW, TODAY) == urgency


def test_an_unknown_close_is_of_medium_urgency() -> None:
    assert determine_urgency(None, NOW, TODAY) == "medium"


@pytest.mark.parametrize(("closes_in", "urgency"), [(400, "medium"), (20, "high"), (10, "critical"), (1, "critical")])
def test_an_old_one_that_has_not_moved_goes_up_one_step(closes_in: int, urgency: str) -> None:
    assert determine_urgency(closing_in(closes_in), NOW - timedelta(days=31), TODAY) == urgency


def test_old_begins_after_thirty_days_and_a_change_makes_young_again() -> None:
    assert determine_urgency(None, NOW - timedelta(days=30), TODAY) == "medium"
    assert determine_urgency(None, NOW - timedelta(days=31), TODAY) == "high"
    assert determine_urgency(None, NOW - timedelta(days=90), TODAY, moved_at=NOW - timedelta(days=2)) == "medium"
    assert determine_urgency(None, NOW - timedelta(days=90), TODAY, moved_at=NOW - timedelta(days=60)) == "high"


def test_ages_are_counted_in_utc() -> None:
    # The 16th of May in Auckland is still the 15th in UTC: 31 days ago.
    created = datetime.fromisoformat("2026-05-16T09:00:00+12:00")
    assert determine_urgency(None, created, TODAY) == "high"


@examples(deadline=None)
@given(first=st.none() | days, second=days, age=days, moved=st.none() | days)
def test_urgency_never_falls_when_the_close_comes_nearer(
    first: int | None, second: int, age: int, moved: int | None
) -> None:
    created = NOW - timedelta(days=age)
    moved_at = None if moved is None else NOW - timedelta(days=moved)

    def urgency(closes_in: int | None) -> int:
        word = determine_urgency(
            None if closes_in is None else closing_in(closes_in), created, TODAY, moved_at=moved_at
        )
        assert word in URGENCY_POINTS
        return WORDS.index(word)

    if first is None:
        assert urgency(None) == urgency(45)
    else:
        assert urgency(min(first, second)) >= urgency(max(first, second))


@examples(deadline=None)
@given(closes_in=st.none() | days, younger=days, older=days)
def test_urgency_never_falls_with_age_and_rises_by_one_step_at_most(
    closes_in: int | None, younger: int, older: int
) -> None:
    close = None if closes_in is None else closing_in(closes_in)
    young, old = (
        WORDS.index(determine_urgency(close, NOW - timedelta(days=age), TODAY)) for age in sorted((younger, older))
    )
    assert young <= old <= young + 1


# ---- the selection


@pytest.fixture
def crm(database: str) -> None:
    add_customer("vip", tier="vip")
    add_customer("std")
    add_promotion()


def selected(limit: int = 500) -> list[str]:
    return [opportunity.id for opportunity in open_opportunities(limit)]


@pytest.mark.usefixtures("crm")
def test_the_open_ones_without_an_offer_come_most_valuable_first() -> None:
    for opportunity, status, value in [
        ("small", "new", "10"), ("big", "qualified", "9000"), ("middle", "proposal", "500"),
        ("won", "won", "99999"), ("lost", "lost", "99999"), ("offered", "new", "99999"), ("unknown", "new", None),
    ]:  # fmt: skip
        add_opportunity(opportunity, customer="std", status=status, value=value)
    add_opportunity("nobodys", customer=None, value="20")
    execute("INSERT INTO offers VALUES ('f', 'offered', 'p1', 1, 1)")

    assert selected() == ["big", "middle", "nobodys", "small", "unknown"]
    assert selected(2) == ["big", "middle"]


@pytest.mark.usefixtures("crm")
def test_what_is_needed_is_read_and_no_more() -> None:
    add_opportunity("o1", customer="vip", value="10.50")
    execute("UPDATE opportunities SET expected_close = '2026-07-01'")

    today = "SELECT (now() AT TIME ZONE 'UTC')::date"
    before = rows(today)[0][0]
    (opportunity,) = open_opportunities(1)

    assert (opportunity.tier, opportunity.estimated_value) == ("vip", Decimal("10.50"))
    assert opportunity.expected_close == date(2026, 7, 1)
    assert opportunity.created_at.tzinfo is not None
    assert before <= opportunity.today <= rows(today)[0][0]


@pytest.mark.usefixtures("crm")
def test_those_that_no_promotion_fits_do_not_keep_the_others_out() -> None:
    execute("UPDATE promotions SET minimum_value = 100, tier = 'vip'")
    add_opportunity("wrong-tier", customer="std", value="9000")
    add_opportunity("too-small", customer="vip", value="99")
    add_opportunity("fits", customer="vip", value="100")
    add_opportunity("unknown", customer="vip", value=None)

    assert selected(1) == ["fits"]
    assert selected() == ["fits", "wrong-tier", "too-small", "unknown"]


# ---- queueing (what the flow does before it works on the queue)


def queue(limit: int = 500) -> dict[str, Any]:
    result = flow_module.process_opportunities.fn(limit=limit, drain=False)
    assert isinstance(result, dict)
    return result


@pytest.fixture
def no_run_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    monkeypatch.setattr(flow_module, "get_run_logger", lambda: logging.getLogger("test"))


@pytest.mark.usefixtures("crm", "no_run_logger")
def test_each_is_queued_once_however_often_the_flow_runs() -> None:
    for number in range(5):
        add_opportunity(f"o{number}", customer="std", value=str(number))

    assert queue(3) == {"success": True, "queued": 3, "already_queued": 0, "summary": None}
    assert queue() == {"success": True, "queued": 2, "already_queued": 3, "summary": None}
    assert queue() == {"success": True, "queued": 0, "already_queued": 5, "summary": None}

    found = rows(
        "SELECT job_type, payload ->> 'opportunity_id', unique_key, max_retries FROM background_jobs ORDER BY 2"
    )
    assert found == [
        ("process_opportunity_offer", f"o{number}", f"opportunity-offer:o{number}", 3) for number in range(5)
    ]


@pytest.mark.usefixtures("crm", "no_run_logger")
def test_an_opportunity_whose_job_failed_is_queued_again() -> None:
    add_opportunity("o1", customer="std")
    queue()
    execute("UPDATE background_jobs SET status = 'failed'")

    assert queue()["queued"] == 1


@pytest.mark.usefixtures("crm", "no_run_logger")
def test_priorities_follow_from_urgency_tier_and_value() -> None:
    for opportunity, customer, value, closes_in in [
        ("top", "vip", "20000", 1), ("high", "std", "500", 10), ("plain", "std", "500", 30), ("last", "std", "500", 90),
        ("nobodys", None, None, None),
    ]:  # fmt: skip
        add_opportunity(opportunity, customer=customer, value=value)
        if closes_in is not None:
            execute(
                "UPDATE opportunities SET expected_close = (now() AT TIME ZONE 'UTC')::date + %s WHERE id = %s",
                closes_in, opportunity,
            )  # fmt: skip
    queue()

    assert dict(rows("SELECT payload ->> 'opportunity_id', priority FROM background_jobs")) == {
        "top": 10, "high": 8, "plain": 5, "last": 3, "nobodys": 5,
    }  # fmt: skip


@pytest.mark.usefixtures("crm", "no_run_logger")
def test_without_anything_to_do_the_flow_says_so() -> None:
    assert queue() == {"success": True, "queued": 0, "already_queued": 0, "summary": None}
