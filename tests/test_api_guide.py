"""The guide's endpoints: its paths, its shapes, its codes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest
from api_server import CRON, TOKENS, VIEWER, client, serving
from crm_rows import add_customer, add_opportunity, add_promotion
from support import insert, job, query, value

from dashboard.api.admin import _seconds
from models import database as db
from models.rollup import RollUp

pytestmark = pytest.mark.usefixtures("tokens")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def tokens(database, configure) -> None:
    configure(**TOKENS)


@pytest.fixture
def operator(url: str) -> Iterator[httpx.Client]:
    with client(url) as found:
        yield found


@pytest.fixture
def scheduler(url: str) -> Iterator[httpx.Client]:
    with client(url, CRON) as found:
        yield found


def failed(error: str = "SMTP connection failed", **columns) -> str:
    job_id = insert(status="failed", error_message=error, job_type="send_promotion", retry_count=3, **columns)
    query("UPDATE background_jobs SET completed_at = clock_timestamp() WHERE id = %s", job_id)
    return job_id


def test_the_figures_are_the_guides(operator: httpx.Client) -> None:
    insert()
    insert()
    insert(status="processing", worker_id="w")
    with db.transaction() as connection:
        roll_up = RollUp("w")
        for _ in range(54):
            roll_up.attempt("note", 5, "completed", waited=1.0, ran=1.2, stages={})
        roll_up.attempt("note", 5, "failed", waited=1.0, ran=1.2, stages={})
        roll_up.count("note", 5, "cancelled", 7)
        roll_up.write(connection)

    assert operator.get("/admin/jobs/stats").json() == {
        "total": 58, "pending": 2, "processing": 1, "completed": 54, "failed": 1,
        "successRate": "98.2%", "avgProcessingTime": "1.2s",
    }  # fmt: skip


def test_before_anything_ended_there_is_no_rate(operator: httpx.Client) -> None:
    found = operator.get("/admin/jobs/stats").json()
    assert (found["total"], found["successRate"], found["avgProcessingTime"]) == (0, None, None)


@pytest.mark.parametrize(
    ("mean", "shown"),
    [(1.2, "1.2s"), (75.31, "75.3s"), (0.96, "1.0s"), (0.24, "0.24s"), (0.0123, "0.012s"), (0.00001, "0.001s")],
)
def test_a_mean_is_written_as_the_guide_does_and_never_as_nothing(mean: float, shown: str) -> None:
    assert _seconds(mean) == shown


def test_failed_jobs_come_newest_first_in_the_guides_shape(operator: httpx.Client) -> None:
    first, second = failed(), failed("another")
    insert()

    found = operator.get("/admin/jobs/failed").json()

    assert [item["id"] for item in found] == [second, first]
    created = found[1].pop("createdAt")
    assert found[1] == {
        "id": first, "type": "send_promotion", "status": "failed", "retryCount": 3,
        "errorMessage": "SMTP connection failed",
    }  # fmt: skip
    assert created.endswith("Z")
    assert datetime.fromisoformat(created).utcoffset() == timedelta(0)
    assert len(operator.get("/admin/jobs/failed", params={"limit": 1}).json()) == 1


def test_a_failed_job_is_retried_and_the_log_says_by_whom(operator: httpx.Client) -> None:
    job_id = failed()

    answer = operator.post("/admin/jobs/retry", json={"jobId": job_id})

    assert (answer.status_code, answer.json()) == (200, {"success": True, "jobId": job_id})
    assert (job(job_id)["status"], job(job_id)["retry_count"]) == ("pending", 0)
    assert query("SELECT who, action, target FROM audit_log") == [("API, ADMIN_API_TOKEN", "retry", job_id)]


def test_a_job_that_is_not_failed_is_not_retried(operator: httpx.Client) -> None:
    answer = operator.post("/admin/jobs/retry", json={"jobId": insert()})
    assert answer.status_code == 409
    assert "got one that is pending" in answer.json()["detail"]
    assert operator.post("/admin/jobs/retry", json={"jobId": "job-123"}).status_code == 404


def test_a_viewers_retry_changes_nothing(url: str) -> None:
    job_id = failed()
    with client(url, VIEWER) as viewer:
        assert viewer.post("/admin/jobs/retry", json={"jobId": job_id}).status_code == 403
    assert job(job_id)["status"] == "failed"


def test_the_hours_offers_are_queued_once(scheduler: httpx.Client) -> None:
    add_customer("vip", tier="vip")
    add_promotion()
    for number in range(3):
        add_opportunity(f"o{number}", customer="vip", value="20000")

    assert scheduler.post("/cron/process-opportunities").json() == {"success": True, "queued": 3}
    assert scheduler.post("/cron/process-opportunities").json() == {"success": True, "queued": 0}
    assert value("SELECT count(*) FROM background_jobs WHERE job_type = 'process_opportunity_offer'") == 3


def test_five_hundred_offers_are_queued_at_most(scheduler: httpx.Client) -> None:
    add_customer("std")
    query(
        "INSERT INTO opportunities (id, customer_id, title) SELECT 'o' || n, 'std', 't' FROM generate_series(1, 501) n"
    )
    assert scheduler.post("/cron/process-opportunities").json() == {"success": True, "queued": 500}


def test_the_days_clean_up_is_queued_once(scheduler: httpx.Client) -> None:
    assert scheduler.post("/cron/cleanup-old-jobs").json() == {"success": True, "queued": 1}
    assert scheduler.post("/cron/cleanup-old-jobs").json() == {"success": True, "queued": 0}
    assert query("SELECT job_type, payload, priority FROM background_jobs") == [("cleanup_old_data", {"days": 30}, 3)]
