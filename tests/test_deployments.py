"""The flows as deployments: deployed with Prefect's own command, run by hand, and put on their schedules."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import httpx
import pytest
import yaml

from models.settings import PROJECT_ROOT
from tests.running import until

SCHEDULES = {
    "process-opportunities/hourly": "0 */1 * * *",
    "cleanup-old-jobs/daily": "0 0 * * *",
    "update-analytics/daily": "0 1 * * *",
    "sync-customers/half-hourly": "20,50 * * * *",
    "send-reminders/hourly": "10 * * * *",
    "send-review-requests/daily": "0 15 * * *",
    "weekly-report/weekly": "0 5 * * 1",
}
DEPLOYMENTS = {"process-jobs/drain", *SCHEDULES}


def _prefect(*arguments: str) -> str:
    command = [sys.executable, "-m", "prefect", *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _filtered(api: str, what: str, chosen: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Prefect's answer; it says 503 while its SQLite is busy, and wants to be asked again."""
    given: list[httpx.Response] = []

    def answered() -> bool:
        given.append(httpx.post(f"{api}/{what}/filter", json=chosen or {}, timeout=60))
        return given[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

    until(answered, what="Prefect's answer")
    found: list[dict[str, Any]] = given[-1].raise_for_status().json()
    return found


@pytest.fixture(scope="module")
def deployed(prefect_api: str) -> dict[str, dict[str, Any]]:
    """The deployments by name, after the README's commands."""
    _prefect("work-pool", "create", "process-pool", "--type", "process", "--overwrite")
    _prefect("deploy", "--all", "--no-prompt")
    flows = {flow["id"]: flow["name"] for flow in _filtered(prefect_api, "flows")}
    found = _filtered(prefect_api, "deployments")
    return {f"{flows[deployment['flow_id']]}/{deployment['name']}": deployment for deployment in found}


def test_versions_that_work_together_are_installed() -> None:
    """With FastAPI 0.154 the second deployment answers 422; with SQLAlchemy 2.1 no scheduled run is ever created."""
    assert version("prefect") == "3.8.8"
    assert tuple(map(int, version("fastapi").split(".")[:2])) < (0, 151)
    assert tuple(map(int, version("sqlalchemy").split(".")[:2])) < (2, 1)


def test_all_flows_deploy_at_once(deployed: dict[str, dict[str, Any]]) -> None:
    assert deployed.keys() == DEPLOYMENTS
    assert {deployment["work_pool_name"] for deployment in deployed.values()} == {"process-pool"}
    for deployment in deployed.values():
        assert deployment["description"]


def test_every_flow_file_that_is_deployed_is_there() -> None:
    declared = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for deployment in declared:
        assert (PROJECT_ROOT / deployment["entrypoint"].partition(":")[0]).is_file()


def test_cron_runs_appear_on_their_own(deployed: dict[str, dict[str, Any]], prefect_api: str) -> None:
    for name, cron in SCHEDULES.items():
        assert [schedule["schedule"]["cron"] for schedule in deployed[name]["schedules"]] == [cron]

        def scheduled(deployment_id: str = deployed[name]["id"]) -> list[Any]:
            runs = _filtered(prefect_api, "flow_runs", {"deployments": {"id": {"any_": [deployment_id]}}})
            return [run for run in runs if run["auto_scheduled"]]

        until(scheduled, seconds=200, what=f"a scheduled run of {name}", every=1.0)


def test_deploying_again_changes_nothing(deployed: dict[str, dict[str, Any]], prefect_api: str) -> None:
    _prefect("deploy", "--all", "--no-prompt")
    again = {row["id"]: row["schedules"] for row in _filtered(prefect_api, "deployments")}
    assert {key: len(schedules) for key, schedules in again.items()} == {
        deployment["id"]: len(deployment["schedules"]) for deployment in deployed.values()
    }


def test_a_deployment_is_run_by_hand(deployed: dict[str, dict[str, Any]], prefect_api: str) -> None:
    assert deployed
    assert "Created flow run" in _prefect("deployment", "run", "process-opportunities/hourly", "--param", "limit=5")
    chosen = {"deployments": {"id": {"any_": [deployed["process-opportunities/hourly"]["id"]]}}}
    runs = _filtered(prefect_api, "flow_runs", chosen)
    assert any(run["parameters"].get("limit") == 5 for run in runs)
