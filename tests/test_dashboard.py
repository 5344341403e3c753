"""The dashboard's first page, run as Streamlit runs it, on a real queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from models import database as db
from models import job_queue, lookup
from models.metrics import by_minute
from models.rollup import RollUp

PAGE = str(Path(__file__).parents[1] / "dashboard" / "pages.py")

pytestmark = pytest.mark.usefixtures("database")


def _page() -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=30).run()
    assert not page.exception
    return page


def _failed_job() -> str:
    with db.transaction() as connection:
        row = connection.execute(
            "INSERT INTO background_jobs (job_type, status, completed_at, error_message)"
            " VALUES ('send_promotion', 'failed', now(), 'the mail server is away') RETURNING id"
        ).fetchone()
        assert row is not None
        roll_up = RollUp("worker")
        roll_up.attempt("send_promotion", 5, "failed", waited=1.0, ran=0.2)
        for _ in range(3):
            roll_up.attempt("send_promotion", 5, "completed", waited=1.0, ran=0.2)
        roll_up.write(connection)
    return str(row[0])


def test_an_empty_queue_is_healthy() -> None:
    page = _page()
    assert "Healthy" in page.markdown[0].value
    assert [metric.value for metric in page.metric] == ["0", "0", "0", "0", "no jobs yet"]


def test_waiting_jobs_without_a_worker_are_said_first() -> None:
    with db.transaction() as connection:
        connection.execute("INSERT INTO background_jobs (job_type) VALUES ('send_promotion')")
    assert "no worker is running" in _page().markdown[0].value


def test_a_selected_failed_job_is_retried() -> None:
    job_id = _failed_job()
    page = _page()
    assert [metric.value for metric in page.metric] == ["0", "0", "3", "1", "75.0%"]
    page.session_state["failed"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    page.button[0].click().run()
    assert not page.exception
    job = lookup.find_job(job_id)
    assert job is not None and job.status == "pending"
    assert job_queue.get_stats().failed == 0


def test_the_roll_up_comes_as_a_frame_by_minute() -> None:
    _failed_job()
    frame = by_minute(1)
    assert list(frame["completed"]) == [3]
    assert list(frame["failure_rate"]) == [0.25]
    assert frame["p95"][0] == pytest.approx(0.2, rel=0.2)
    assert by_minute(1).dtypes["minute"].kind == "M"


def test_a_period_that_is_no_period_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 0 and at most 48"):
        by_minute(0)
