"""Job type `update_analytics`: the daily figures are right, whole, and the same however often they are computed."""

from __future__ import annotations

from typing import Any

import pytest
from crm_rows import add_customer, add_opportunity, add_promotion, execute, rows
from pydantic import ValidationError
from support import at_once, on_one_day, value

from models import registry
from models.analytics import daily_figures
from models.analytics_table import MEASURES
from tasks.context import CurrentJob, running_job

pytestmark = pytest.mark.usefixtures("database", "one_day")

FIGURE = "SELECT value::float8 FROM analytics_daily WHERE day = {day} AND (member, measure) = (%s, %s)"
DAY = "((now() AT TIME ZONE 'UTC')::date - {})"


@pytest.fixture
def one_day() -> None:
    on_one_day()


def update(**payload: Any) -> dict[str, Any]:
    job_type = registry.load()["update_analytics"]
    result = job_type.run(job_type.payload.model_validate(payload))
    assert isinstance(result, dict)
    return result


def figure(days_ago: int, member: str, measure: str) -> float:
    return float(value(FIGURE.format(day=DAY.format(days_ago)), member, measure))


def age(table: str, row: str, *, created: int, changed: int | None = None) -> None:
    """Moves a row's times to noon so many days ago."""
    noon = "date_trunc('day', now(), 'UTC') + interval '12 hours' - make_interval(days => %s)"
    execute(f"UPDATE {table} SET created_at = {noon} WHERE id = %s", created, row)
    if changed is not None:
        execute(f"UPDATE {table} SET updated_at = {noon} WHERE id = %s", changed, row)


def add_metric(days_ago: int, job_type: str = "note", *, completed: int = 1, resolution: int = 1) -> None:
    execute(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed, failed, retried,"
        " run_seconds) VALUES (date_trunc('day', now(), 'UTC') - make_interval(days => %s), %s, %s, 5, '', %s, 2, 3,"
        " 1.23456)",
        days_ago, resolution, job_type, completed,
    )  # fmt: skip


def a_small_crm() -> None:
    add_promotion()
    add_customer("vip", tier="vip")
    age("customers", "vip", created=12, changed=12)
    for name, status, created, changed, worth in (
        ("won-quoted", "won", 10, 3, "1000"), ("won", "won", 10, 3, "500"), ("open", "qualified", 9, 4, "70"),
        ("early", "won", 10, 0, "40"),
    ):  # fmt: skip
        add_opportunity(name, customer="vip", status=status, value=worth)
        age("opportunities", name, created=created, changed=changed)
    add_opportunity("nobody", customer=None, status="won", value=None)
    age("opportunities", "nobody", created=10, changed=3)
    # It closed six days ago, and somebody said so today.
    execute(f"UPDATE opportunities SET expected_close = {DAY.format(6)} WHERE id = 'early'")
    execute(
        "INSERT INTO offers VALUES ('f', 'won-quoted', 'p1', 900, 10, date_trunc('day', now(), 'UTC') - interval '5 d')"
    )


def state() -> list[tuple[Any, ...]]:
    return rows(
        "SELECT day, dimension, member, measure, value, updated_at, xmin::text FROM analytics_daily ORDER BY 1, 2, 3, 4"
    )


def test_what_is_won_counts_with_its_offers_amount_on_the_day_it_closed() -> None:
    a_small_crm()
    update()

    assert (figure(3, "vip", "won"), figure(3, "vip", "won_value")) == (2, 1400)
    assert (figure(3, "none", "won"), figure(3, "none", "won_value")) == (1, 0)
    assert (figure(6, "vip", "won_value"), figure(0, "vip", "won_value")) == (40, 0)
    assert (figure(12, "vip", "new_customers"), figure(11, "vip", "new_customers")) == (1, 0)
    assert (figure(5, "vip", "offers"), figure(5, "vip", "offered_value")) == (1, 900)


def test_opportunities_stand_in_their_stage_since_they_moved_there_and_in_new_before() -> None:
    a_small_crm()
    update()

    assert [figure(day, "new", "open") for day in (11, 10, 9, 4, 3, 1, 0)] == [0, 4, 5, 4, 1, 1, 0]
    assert [figure(day, "qualified", "open_value") for day in (5, 4, 0)] == [0, 70, 70]
    assert [figure(day, "won", "moved") for day in (4, 3, 0)] == [0, 3, 1]
    assert figure(3, "won", "moved_value") == 1500
    assert rows("SELECT DISTINCT value FROM analytics_daily WHERE member = 'won' AND measure = 'open'") == [(0,)]


def test_job_figures_come_from_the_roll_ups_minutes_and_hours() -> None:
    add_metric(0, completed=3)
    add_metric(5, completed=4)
    add_metric(5, completed=5, resolution=60)
    update()

    assert [figure(day, "note", "completed") for day in (5, 4, 0)] == [9, 0, 3]
    assert (figure(5, "note", "failed"), figure(5, "note", "retried")) == (4, 6)
    assert figure(5, "note", "run_seconds") == 2.469


def test_every_day_since_the_first_has_every_figure() -> None:
    add_customer()
    age("customers", "c1", created=40, changed=40)
    add_metric(2)
    update()

    each = 4 * len(MEASURES["tier"]) + len(MEASURES["job_type"]) + 5 * len(MEASURES["stage"])
    assert rows("SELECT count(DISTINCT day), count(*) FROM analytics_daily") == [(41, 41 * each)]
    frame = daily_figures(*rows("SELECT min(day), max(day) FROM analytics_daily")[0])
    assert len(frame) == 41 * each and frame["value"].sum() == 1 + 1 + 2 + 3 + 1.235


def test_run_twice_nothing_is_written() -> None:
    a_small_crm()
    add_metric(5)
    first = update()
    before = state()

    again = update()

    assert first["rows_changed"] > 0 and again == {"days": 7, "rows_changed": 0}
    assert state() == before


@pytest.mark.parametrize("lost", ["true", "day < now() - interval '8 days' AND measure = 'won'", "member = 'vip'"])
def test_rows_that_were_deleted_are_there_again(lost: str) -> None:
    a_small_crm()
    add_metric(9)
    update()
    before = [row[:5] for row in state()]
    execute(f"DELETE FROM analytics_daily WHERE {lost}")

    update()

    assert [row[:5] for row in state()] == before


def test_events_that_come_late_are_counted() -> None:
    a_small_crm()
    add_metric(3)
    update()
    add_metric(3, completed=10, resolution=60)
    add_customer("imported", tier="premium")
    age("customers", "imported", created=11)
    add_opportunity("late", customer="vip", status="won", value="7")
    age("opportunities", "late", created=11)
    execute(f"UPDATE opportunities SET expected_close = {DAY.format(11)} WHERE id = 'late'")

    update(days=4)

    assert figure(3, "note", "completed") == 11
    assert figure(11, "premium", "new_customers") == 1
    assert figure(11, "vip", "won_value") == 7


def test_a_days_stages_stand_when_the_next_day_is_over() -> None:
    a_small_crm()
    update()
    execute("UPDATE opportunities SET status = 'proposal', updated_at = now() WHERE id = 'open'")
    update()

    assert [figure(day, "qualified", "open") for day in (3, 2, 1, 0)] == [1, 1, 0, 0]
    assert [figure(day, "proposal", "open") for day in (2, 1, 0)] == [0, 0, 1]


def test_job_figures_outlive_the_roll_up() -> None:
    add_metric(200, completed=5)
    add_metric(150)
    update()
    execute("DELETE FROM job_metrics WHERE bucket < now() - interval '180 days'")
    # A new type makes every day incomplete, and so computed again.
    add_metric(1, "newer")

    update()

    assert (figure(200, "note", "completed"), figure(200, "newer", "completed")) == (5, 0)
    execute("DELETE FROM job_metrics")
    update(days=3650)
    assert figure(200, "note", "completed") == 5


def test_runs_at_the_same_time_do_no_harm() -> None:
    a_small_crm()
    add_metric(60)

    at_once(4, lambda number: update(days=1 + number))

    assert update()["rows_changed"] == 0
    assert figure(3, "vip", "won_value") == 1400


def test_an_empty_database_gets_a_row_of_zeros_for_today() -> None:
    assert update() == {"days": 1, "rows_changed": rows("SELECT count(*) FROM analytics_daily")[0][0]}


def test_a_date_long_ago_does_not_make_centuries_of_zeros() -> None:
    add_customer()
    age("customers", "c1", created=200 * 365)

    assert update()["days"] == 3650


def test_progress_ends_at_one_and_days_are_bounded() -> None:
    add_metric(100)
    reports: list[float] = []
    token = running_job.set(CurrentJob("j", "update_analytics", 1, 2, lambda share, note: reports.append(share)))
    update()
    running_job.reset(token)

    assert reports == sorted(reports) and len(reports) == 4 and reports[-1] == 1
    for wrong in (0, 3651):
        with pytest.raises(ValidationError):
            update(days=wrong)
