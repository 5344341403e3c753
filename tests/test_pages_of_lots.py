"""Pages of jobs that one transaction added: each job once and in order, and no look at more rows than a page may."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from support import insert, query

from benchmarks.plans import plans_of
from models import lots, paging
from models.filters import JobFilter, Period

pytestmark = pytest.mark.usefixtures("database")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LOT = 3 * paging.EXAMINED


def _walked(filter: JobFilter, limit: int) -> list[str]:
    """The ids of all pages, one after the other."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = paging.page(filter, cursor, limit)
        found.extend(page.frame["id"])
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("by_time", [True, False], ids=["ids that sort by time", "ids of the caller's own"])
@pytest.mark.parametrize(
    ("filter", "condition"),
    [
        (JobFilter(), "true"),
        (JobFilter(text="needle"), "payload::text LIKE '%%needle%%'"),
        (JobFilter(priorities=(3, 4)), "priority IN (3, 4)"),
        (JobFilter(job_types=("rare",)), "job_type = 'rare'"),
        (
            JobFilter(period=Period(BEGIN + timedelta(minutes=1), BEGIN + timedelta(minutes=3))),
            "created_at >= '2026-01-01 00:01+00' AND created_at < '2026-01-01 00:03+00'",
        ),
    ],
    ids=["all", "text", "priority", "type", "period"],
)
def test_each_job_comes_once_and_in_order_however_many_were_added_at_once(
    monkeypatch: pytest.MonkeyPatch, by_time: bool, filter: JobFilter, condition: str
) -> None:
    for name, value in (("EXAMINED", 7), ("SMALL_SLICE", 0), ("MOST_LOOKS", 3)):
        monkeypatch.setattr(paging, name, value)
    monkeypatch.setattr(lots, "SORTED", 5)
    random = Random(7)
    # Lots about the size of a look, smaller and larger ones, and jobs that came alone.
    for minute, jobs in enumerate((1, 6, 7, 8, 30, 1, 5, 20)):
        for number in range(jobs):
            own_id = hashlib.md5(f"{minute} {number}".encode(), usedforsecurity=False).hexdigest()
            insert(
                **({} if by_time else {"id": own_id}),
                created_at=BEGIN + timedelta(minutes=minute),
                job_type=random.choice(("note", "note", "rare")),
                priority=random.randint(1, 5),
                payload=random.choice(('{"text": "hay"}', '{"text": "needle"}')),
            )
    wanted = query(f"SELECT id FROM background_jobs WHERE {condition} ORDER BY created_at DESC, id DESC")

    for limit in (3, 50):
        assert _walked(filter, limit) == [row[0] for row in wanted]


@pytest.fixture
def lot() -> None:
    """Three looks' worth of jobs added at once by plain SQL, some after them and more before."""
    for rows, added in ((200, BEGIN), (LOT, BEGIN + timedelta(days=1))):
        query(
            "INSERT INTO background_jobs (job_type, payload, created_at)"
            " SELECT 'type_' || n %% 10, '{\"text\": \"hay\"}', %s FROM generate_series(1, %s) AS n",
            added,
            rows,
        )
    for second in range(10):
        insert(created_at=BEGIN + timedelta(days=2, seconds=second))
    query("INSERT INTO job_types (job_type) SELECT 'type_' || n FROM generate_series(0, 9) AS n")
    query("ANALYZE background_jobs")


@pytest.mark.parametrize(
    "filter",
    [JobFilter(), JobFilter(text="needle"), JobFilter(priorities=(9,)), JobFilter(job_types=("type_3",))],
    ids=["all", "text", "priority", "type"],
)
def test_a_page_of_a_large_lot_goes_along_the_ids_and_looks_at_a_bounded_number_of_rows(
    lot: None, monkeypatch: pytest.MonkeyPatch, filter: JobFilter
) -> None:
    # The end of a lot is looked for in the whole lot: the looks of these pages are before it.
    monkeypatch.setattr(paging, "MOST_LOOKS", 1)
    monkeypatch.setattr(paging, "MOST_LOOKS_FOR_TEXT", 1)
    first = paging.page(filter)

    for cursor in (None, first.next_cursor):
        plans = plans_of(lambda cursor=cursor: paging.page(filter, cursor))  # type: ignore[misc]
        assert max(plan.most_rows for plan in plans) <= paging.EXAMINED
        for plan in plans:
            assert "background_jobs" not in plan.indexes_of("background_jobs"), plan.text


def test_a_page_in_the_midst_of_a_large_lot_touches_a_few_buffers(lot: None) -> None:
    cursor = paging.page(limit=1000).next_cursor

    assert sum(plan.buffers for plan in plans_of(lambda: paging.page(cursor=cursor))) <= 1_000


def test_a_page_that_reaches_a_large_lot_is_filled_from_it(lot: None) -> None:
    page = paging.page(limit=50)

    assert len(page.frame) == 50
    assert list(page.frame["id"]) == [
        row[0] for row in query("SELECT id FROM background_jobs ORDER BY created_at DESC, id DESC LIMIT 50")
    ]
