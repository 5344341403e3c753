"""The sample CRM: the same rows for the same seed, and nothing overwritten that the jobs have moved on."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from statistics import mean, median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import on_one_day

from models import database
from models.appointments import REMIND_HOURS, queue_reminders, queue_review_requests
from models.crm_sample import SampleCounts, load_sample
from models.crm_sample.appointments import when
from models.crm_sample.load import LARGEST_VALUE, SMALLEST_VALUE
from models.quiet_hours import QuietHours

pytestmark = pytest.mark.usefixtures("database", "one_day")

OPEN = ("new", "qualified", "proposal")


@pytest.fixture
def one_day() -> None:
    """Its dates are counted from today."""
    on_one_day()


def _rows(query: Any) -> list[Any]:
    with database.transaction() as connection:
        return connection.execute(query).fetchall()


def test_the_sample_has_as_much_as_was_asked_for() -> None:
    assert load_sample() == SampleCounts(customers=300, opportunities=600, promotions=6, appointments=48)
    more = load_sample(customers=310, opportunities=650, appointments=50)
    assert more == SampleCounts(customers=10, opportunities=50, promotions=0, appointments=2)
    assert _rows("SELECT count(*) FROM opportunities") == [(650,)]


def test_loading_again_leaves_what_the_jobs_have_moved_on() -> None:
    load_sample()
    with database.transaction() as connection:
        connection.execute("UPDATE opportunities SET status = 'won', updated_at = now()")
        connection.execute("UPDATE customers SET unsubscribed_at = now()")
        connection.execute("UPDATE promotions SET active = false")
        connection.execute("UPDATE customers SET time_zone = 'Europe/Berlin'")
        connection.execute("UPDATE appointments SET status = 'cancelled'")
    assert load_sample() == SampleCounts(customers=0, opportunities=0, promotions=0, appointments=0)
    assert _rows("SELECT DISTINCT time_zone FROM customers") == [("Europe/Berlin",)]
    assert _rows("SELECT DISTINCT status FROM appointments") == [("cancelled",)]
    assert _rows("SELECT DISTINCT status FROM opportunities") == [("won",)]
    assert _rows("SELECT count(*) FROM customers WHERE unsubscribed_at IS NULL") == [(0,)]
    assert _rows("SELECT DISTINCT active FROM promotions") == [(False,)]


def test_a_seed_makes_the_same_sample_and_another_one_another() -> None:
    query = "SELECT customer_id, title, status, estimated_value, expected_close FROM opportunities ORDER BY id"
    samples = []
    for seed in (1, 1, 2):
        with database.session() as session:
            load_sample(session, seed=seed)
            connection = session.connection().connection.driver_connection
            assert connection is not None
            samples.append(connection.execute(query).fetchall())
            session.rollback()
    assert samples[0] == samples[1] != samples[2]


def test_at_least_five_hundred_opportunities_are_open_and_some_are_won_and_lost() -> None:
    load_sample()
    statuses = Counter(status for (status,) in _rows("SELECT status FROM opportunities"))
    assert sum(statuses[status] for status in OPEN) >= 500
    assert all(statuses[status] >= 40 for status in (*OPEN, "won", "lost"))


def test_tiers_come_in_their_shares() -> None:
    load_sample(customers=3000, opportunities=0, appointments=0)
    tiers = Counter(tier for (tier,) in _rows("SELECT tier FROM customers"))
    assert tiers["vip"] / 30 == pytest.approx(8, abs=2)
    assert tiers["premium"] / 30 == pytest.approx(22, abs=3)
    assert tiers["standard"] / 30 == pytest.approx(70, abs=3)


def test_values_are_skewed_and_within_bounds() -> None:
    load_sample()
    values = [value for (value,) in _rows("SELECT estimated_value FROM opportunities")]
    assert Decimal(SMALLEST_VALUE) <= min(values) < max(values) <= LARGEST_VALUE
    assert mean(values) > median(values) * Decimal("1.5")
    assert sum(value > 5000 for value in values) >= 10


def test_dates_are_counted_from_now() -> None:
    load_sample()
    assert _rows(
        """
        SELECT count(*) FROM opportunities
        WHERE created_at NOT BETWEEN now() - interval '60 days' AND now()
           OR (status IN ('new', 'qualified', 'proposal')
               AND expected_close - (now() AT TIME ZONE 'UTC')::date NOT BETWEEN -6 AND 90)
           OR (status IN ('won', 'lost')
               AND expected_close NOT BETWEEN (created_at AT TIME ZONE 'UTC')::date
                                      AND (now() AT TIME ZONE 'UTC')::date)
        """
    ) == [(0,)]
    overdue = "SELECT count(*) > 5 FROM opportunities WHERE expected_close < now() AND status NOT IN ('won', 'lost')"
    assert _rows(overdue) == [(True,)]


def test_every_address_is_an_example_and_no_two_are_the_same() -> None:
    load_sample()
    addresses = [address for (address,) in _rows("SELECT email FROM customers")]
    assert len(set(addresses)) == 300
    assert all(address.endswith(("@example.com", "@example.org", "@example.net")) for address in addresses)


def test_every_tier_has_a_promotion_for_the_larger_opportunities() -> None:
    load_sample()
    assert dict(_rows("SELECT tier, count(*) FROM promotions WHERE tier IS NOT NULL AND active GROUP BY 1")) == {
        "standard": 2,
        "premium": 2,
        "vip": 1,
    }
    assert _rows("SELECT id FROM promotions WHERE id = 'spring-refresh'") == [("spring-refresh",)]


def test_every_other_appointment_is_to_be_reminded_of_and_the_others_to_be_asked_about() -> None:
    load_sample()

    assert len(queue_reminders().appointments) == 24
    assert len(queue_review_requests().appointments) == 24
    assert _rows("SELECT count(DISTINCT customer_id) FROM appointments") == [(48,)]


@pytest.mark.parametrize("day", [datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC)])
@pytest.mark.parametrize("hour", range(24))
def test_at_any_hour_most_reminders_can_go_out_and_every_sixth_waits_until_morning(day: datetime, hour: int) -> None:
    for now in (day + timedelta(hours=hour), day + timedelta(hours=hour, minutes=59)):
        coming = [found for found in (when(number, now) for number in range(48)) if found.zone is not None]

        waiting = 0
        for found in coming:
            morning = QuietHours(time(20), time(8), ZoneInfo(str(found.zone))).end_after(now)
            waiting += morning > now
            assert now <= morning < found.starts_at <= now + timedelta(hours=REMIND_HOURS)
        assert (len(coming), waiting) == (24, 4)


@pytest.mark.parametrize(
    ("customers", "opportunities", "appointments"), [(-1, 0, 0), (1, -1, 0), (1, 0, -1), (0, 1, 0), (0, 0, 1)]
)
def test_numbers_that_make_no_sample_are_refused(customers: int, opportunities: int, appointments: int) -> None:
    with pytest.raises(ValueError, match=r"expected .*, got customers="):
        load_sample(customers=customers, opportunities=opportunities, appointments=appointments)
