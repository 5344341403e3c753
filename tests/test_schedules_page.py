"""The Schedules page on a real Prefect server: what is deployed, run now, pause and resume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from http_server import Answer, HttpServer
from support import query

from dashboard import access, answers, prefect_api
from dashboard.components import schedules
from models import database as db
from models.roles import Actor
from tests.pages import click, open_page, texts
from tests.ports import unused_port
from tests.running import until

pytestmark = pytest.mark.usefixtures("database")
CRON = {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "active": True}


def _audited() -> list[tuple[str, str, str, str]]:
    return query("SELECT who, action, target, detail->>'outcome' FROM audit_log ORDER BY id")  # type: ignore[return-value]


def _paused(deployment: str) -> bool:
    """Whether this one is paused; other tests have deployed others."""
    found = prefect_api.deployments()
    return bool(found.loc[found["id"] == deployment, "paused"].item())


def _asked(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """Prefect says 503 while its SQLite is busy, and wants to be asked again."""
    given: list[httpx.Response] = []

    def asked() -> bool:
        given.append(client.request(method, path, json=body))
        return given[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

    until(asked, what=f"Prefect's answer to {path}")
    return given[-1].raise_for_status()


@pytest.fixture
def ann(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator who looks."""
    monkeypatch.setattr(access, "visitor", lambda cookies: Actor("ann", "operator"))


@pytest.fixture
def deployment(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A deployment with a schedule: its id. The page has the patience of a machine that is busy with other tests."""
    monkeypatch.setattr("dashboard.prefect_api.TIMEOUT", httpx.Timeout(60))
    with httpx.Client(base_url=prefect_api, timeout=60) as client:
        flow = _asked(client, "POST", "/flows/", {"name": "tidy-up"}).json()
        body = {"name": "nightly", "flow_id": flow["id"], "schedules": [CRON], "description": ":red[tidies] up"}
        made = _asked(client, "POST", "/deployments/", body).json()
        answers.forget()
        yield made["id"]
        # The flow's deployments, if one is left, go with it.
        _asked(client, "DELETE", f"/flows/{flow['id']}")
    answers.forget()


def test_a_deployment_is_run_now_paused_and_resumed_and_the_log_says_by_whom(deployment: str, ann: None) -> None:
    page = open_page("schedules")
    words = texts(page)
    assert "`tidy-up/nightly`" in words and "0 3 * * * UTC" in words and ":gray[Last] never" in words
    click(page, f"run_{deployment}")
    click(page, "run_yes")
    assert "a run was asked for" in texts(page)
    click(page, f"pause_{deployment}")
    click(page, "pause_schedule_yes")
    assert ":orange-badge[paused]" in texts(page)
    assert _paused(deployment)
    click(page, f"resume_{deployment}")
    assert not _paused(deployment)
    assert any(each.url == prefect_api.deployment_link(deployment) for each in page.link_button)
    assert _audited() == [
        ("ann", f"{action}_deployment", "tidy-up/nightly", "accepted") for action in ("run", "pause", "resume")
    ]
    ((of, run),) = query("SELECT detail->>'deployment_id', detail->>'flow_run_id' FROM audit_log WHERE action ~ '^run'")
    with httpx.Client(base_url=prefect_api.api_url(), timeout=60) as client:
        assert _asked(client, "GET", f"/flow_runs/{run}").json()["deployment_id"] == of == deployment
    assert "`pause_deployment` `tidy-up/nightly` by `ann`, `accepted`" in texts(page)


def test_what_prefect_refuses_and_what_it_leaves_open_is_told_apart_in_the_log(
    deployment: str, ann: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("schedules")
    click(page, f"run_{deployment}")
    with httpx.Client(base_url=prefect_api.api_url(), timeout=60) as client:
        _asked(client, "DELETE", f"/deployments/{deployment}")
    click(page, "run_yes")
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{unused_port()}/api")
    with pytest.raises(httpx.HTTPError):
        schedules._ask("run_deployment", deployment, "gone", lambda: {"id": prefect_api.run_now(deployment)})
    assert _audited() == [
        ("ann", "run_deployment", "tidy-up/nightly", "refused"), ("ann", "run_deployment", "gone", "unclear"),
    ]  # fmt: skip


def test_a_viewer_asks_prefect_nothing_and_is_not_in_the_log(deployment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("schedules")
    click(page, f"pause_{deployment}")
    monkeypatch.setattr(access, "visitor", lambda cookies: Actor("vera", "viewer"))
    click(page, "pause_schedule_yes")
    assert "expected the operator role" in texts(page)
    assert not _paused(deployment)
    assert _audited() == []


def test_where_the_log_cannot_be_written_prefect_is_asked_nothing(
    deployment: str, ann: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("schedules")
    with db.transaction() as connection:
        connection.execute("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
    try:
        click(page, f"pause_{deployment}")
        click(page, "pause_schedule_yes")
    finally:
        with db.transaction() as connection:
            connection.execute("ALTER TABLE audit_log DROP CONSTRAINT full_disk")
    assert "not done" in texts(page)
    assert not _paused(deployment)


def test_a_prefect_that_is_busy_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([503, 503])
    with HttpServer(lambda asked: Answer(next(busy, 204))) as prefect:
        monkeypatch.setenv("PREFECT_API_URL", f"{prefect.url}/api")
        prefect_api.set_paused("nightly", True)
        assert prefect.paths == ["/api/deployments/nightly/pause_deployment"] * 3
        prefect.answer = lambda asked: Answer(503)
        with pytest.raises(prefect_api.PrefectError, match="got 503"):
            prefect_api.set_paused("nightly", True)
