"""Which appointments the two schedules queue: each once, the right ones, and by an index."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from crm_rows import add_appointment, add_customer, execute, rows
from support import at_once

from models.appointments import queue_reminders, queue_review_requests
from models.sql import statement

pytestmark = pytest.mark.usefixtures("database")


def away_from_midnight(*, not_utc: bool = False) -> str:
    """A time zone where it is about noon (or three), so that no day ends while a test runs."""
    hours = 12 - datetime.now(UTC).hour
    if not_utc and hours == 0:
        hours = 3
    # The signs of these names are the other way round.
    return f"Etc/GMT{-hours:+d}"


def queued() -> list[tuple[Any, ...]]:
    return rows("SELECT payload->>'appointment_id', priority FROM background_jobs ORDER BY created_at, id")


def test_reminders_are_queued_for_what_starts_within_a_day_the_next_first() -> None:
    add_customer(tier="vip")
    for name, starts_in in {"late": "24 hours", "soon": "1 minute", "far": "26 hours", "past": "-1 minute"}.items():
        add_appointment(name, starts_in=starts_in)
    add_appointment("off", status="cancelled")
    add_appointment("done", status="completed")

    assert queue_reminders(dry_run=True).appointments == ["soon", "late"]
    assert queued() == []
    assert queue_reminders(1).appointments == ["soon"]
    assert queue_reminders().appointments == ["late"]
    assert queue_reminders().appointments == []
    assert sorted(queued()) == [("late", 10), ("soon", 10)]


def test_a_job_that_failed_for_good_is_not_added_again_an_hour_later() -> None:
    add_customer()
    add_appointment()
    queue_reminders()
    execute("UPDATE background_jobs SET status = 'failed'")

    assert queue_reminders().appointments == []


def test_a_moved_appointment_is_queued_again_with_its_new_time() -> None:
    add_customer()
    add_appointment()
    queue_reminders()
    execute("UPDATE appointments SET starts_at = starts_at + interval '1 hour'")

    assert queue_reminders().appointments == ["a1"]
    assert len(queued()) == 2
    assert rows("SELECT count(DISTINCT unique_key), count(DISTINCT payload->>'starts_at') FROM background_jobs") == [
        (2, 2)
    ]


def test_of_runs_at_the_same_moment_each_queues_others() -> None:
    add_customer()
    for number in range(40):
        add_appointment(f"a{number}")

    found = at_once(4, lambda number: queue_reminders(20).appointments)

    assert len(queued()) == 40 == len({name for part in [*found, queue_reminders().appointments] for name in part})


def test_review_requests_are_queued_for_the_latest_visit_of_who_may_be_asked(configure: Any) -> None:
    zone = away_from_midnight()
    configure(COMPANY_TIME_ZONE=zone)

    # Days by the company's clock.
    def visit(name: str, days: float, **options: Any) -> None:
        add_customer(f"of-{name}", **options)
        add_appointment(name, customer=f"of-{name}", status="completed")
        execute(
            "UPDATE appointments SET completed_at = date_trunc('day', now(), %s) + %s * interval '1 day'"
            " WHERE id = %s", zone, days, name,
        )  # fmt: skip

    visit("today", 0.001)
    visit("yesterday", -0.001)
    visit("last", -7)
    visit("older", -7.001)
    visit("nowhere", -1, email=None)
    visit("silent", -1)
    visit("asked", -1)
    visit("asked-long-ago", -2)
    visit("reviewed", -1)
    add_appointment("earlier", customer="of-yesterday", status="completed", completed="4 days")
    add_appointment("planned", customer="of-yesterday")
    execute("UPDATE customers SET unsubscribed_at = now() WHERE id = 'of-silent'")
    execute("INSERT INTO reviews (appointment_id, rating) VALUES ('reviewed', 5)")
    for name, days in {"asked": 89, "asked-long-ago": 91}.items():
        execute(
            "INSERT INTO messages (id, customer_id, kind, subject_id, channel, sent_at)"
            " VALUES (%s, %s, 'send_review_request', 'x', 'smtp', now() - %s * interval '1 day')",
            name, f"of-{name}", days,
        )  # fmt: skip

    expected = ["yesterday", "asked-long-ago", "last"]
    assert queue_review_requests(dry_run=True).appointments == expected
    assert queue_review_requests(1).appointments == ["yesterday"]
    assert queue_review_requests().appointments == expected[1:]
    assert queue_review_requests().appointments == []
    assert [name for name, _ in queued()] == expected


def test_yesterday_is_the_companys(configure: Any) -> None:
    add_customer()
    add_appointment(status="completed", completed="0 seconds")
    zone = away_from_midnight(not_utc=True)
    configure(COMPANY_TIME_ZONE=zone)
    for minutes, found in ((-1, ["a1"]), (1, [])):
        execute(
            "UPDATE appointments SET completed_at = date_trunc('day', now(), %s) + %s * interval '1 minute'",
            zone, minutes,
        )  # fmt: skip
        assert queue_review_requests(dry_run=True).appointments == found


@pytest.mark.parametrize(
    ("name", "parameters", "index"),
    [
        ("due_reminders", {"hours": 25, "most": 1000}, "ix_appointments_to_remind"),
        (
            "due_review_requests",
            {"zone": "UTC", "days": 7, "again_days": 90, "most": 1000},
            "ix_appointments_to_review",
        ),
    ],
)
def test_what_was_queued_is_not_looked_at_again(
    name: str, parameters: dict[str, Any], index: str, database: str
) -> None:
    """Among 20,000 appointments the query reads those that are left, by their index."""
    add_customer()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO appointments"
            " (id, customer_id, service, starts_at, status, completed_at, reminder_queued_for, review_queued_at)"
            " SELECT 'x' || n, 'c1', 'Carpets', at, CASE WHEN n %% 2 = 0 THEN 'scheduled' ELSE 'completed' END,"
            " at, at, now() FROM generate_series(1, 20000) AS n, LATERAL"
            " (SELECT now() + (n - 10000) * interval '1 minute') AS times (at)".replace("%%", "%")
        )
        for number in range(20):
            add_appointment(f"a{number}")
            add_appointment(f"b{number}", status="completed")
        connection.execute("ANALYZE appointments")
        plan = connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement(name)}".encode(), parameters
        ).fetchone()
    assert plan is not None
    assert index in str(plan[0])
    assert "'Seq Scan', 'Parallel Aware': False, 'Async Capable': False, 'Relation Name': 'appointments'" not in str(
        plan[0]
    )
