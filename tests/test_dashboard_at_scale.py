"""Every page with a million jobs, 100,000 of them failed in 40 groups: it opens, and no panel was cut off."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from benchmarks.million import LOAD_JOBS, LOAD_ROLL_UP
from dashboard import answers
from models.settings import settings
from tests.pages import PAGES, click, open_page, texts


@pytest.fixture(scope="module", autouse=True)
def million(migrated: str) -> Iterator[None]:
    """The queue of the benchmarks, once for all tests here."""
    settings.cache_clear()
    tables = "background_jobs, job_failures, retried_jobs, bulk_actions, workers, job_types, job_metrics, audit_log"
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {tables} CASCADE")
        connection.execute(LOAD_JOBS)
        connection.execute(LOAD_ROLL_UP)
        connection.execute("VACUUM ANALYZE background_jobs, job_failures, job_metrics")
        answers.forget()
        yield
        connection.execute(f"TRUNCATE {tables} CASCADE")
    answers.forget()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_a_million_jobs_with_no_panel_cut_off(name: str) -> None:
    page = open_page(name)
    words = texts(page)
    assert "stale since" not in words
    if name != "schedules":
        assert "Nothing to show" not in words


def test_a_hundred_thousand_failed_jobs_are_forty_errors() -> None:
    page = open_page("failed")
    assert "**100,000 jobs** failed with **40 errors**" in texts(page)
    click(page, "retry_all")
    assert "**100,000 jobs** with 40 errors go back" in texts(page), "counted to the last one before"


def test_old_pages_of_the_history_are_as_near_as_new_ones() -> None:
    page = open_page("history")
    seen = set(page.dataframe[0].value["added"])
    for _ in range(3):
        click(page, "page_older")
        assert not seen & set(page.dataframe[0].value["added"])
        seen |= set(page.dataframe[0].value["added"])
    assert len(seen) == 100
