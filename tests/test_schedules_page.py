"""The Schedules page on a real Prefect server: what is deployed, run now, pause and resume."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from dashboard import answers, prefect_api
from tests.pages import click, open_page, texts

pytestmark = pytest.mark.usefixtures("database")
CRON = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True}


@pytest.fixture
def deployment(prefect_api: str) -> Iterator[str]:
    """A deployment with a schedule: its id."""
    with httpx.Client(base_url=prefect_api, timeout=30) as client:
        flow = client.post("/flows/", json={"name": "tidy-up"}).raise_for_status().json()
        body = {"name": "nightly", "flow_id": flow["id"], "schedules": [CRON], "description": ":red[tidies] up"}
        made = client.post("/deployments/", json=body).raise_for_status().json()
        answers.forget()
        yield made["id"]
        client.delete(f"/deployments/{made['id']}")
        client.delete(f"/flows/{flow['id']}")
    answers.forget()


def test_a_deployment_is_run_now_paused_and_resumed(deployment: str) -> None:
    page = open_page("schedules")
    words = texts(page)
    assert "`tidy-up/nightly`" in words and "0 3 * * * UTC" in words and ":gray[Last] never" in words
    click(page, f"run_{deployment}")
    click(page, "run_yes")
    assert "a run was asked for" in texts(page)
    click(page, f"pause_{deployment}")
    click(page, "pause_schedule_yes")
    assert ":orange-badge[paused]" in texts(page)
    assert list(prefect_api.deployments()["paused"]) == [True]
    click(page, f"resume_{deployment}")
    assert list(prefect_api.deployments()["paused"]) == [False]
    assert any(each.url == prefect_api.deployment_link(deployment) for each in page.link_button)
