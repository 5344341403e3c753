"""Prefect's deployments and their runs, asked of Prefect's own HTTP API; Prefect itself is not imported.

`PREFECT_API_URL` says where it is, `PREFECT_API_KEY` or `PREFECT_API_AUTH_STRING` let us in, as Prefect's own client
has it.
"""

from __future__ import annotations

import base64
import os
import time
from typing import Any
from urllib.parse import quote

import httpx
import pandas as pd

#: Where a local Prefect server is when nothing is set.
LOCAL_API = "http://127.0.0.1:4200/api"
#: A page waits this long for Prefect at most, for each question.
TIMEOUT = httpx.Timeout(3.0, connect=1.0)
#: Prefect says 503 while its SQLite is busy, having done nothing, and wants to be asked again; after these seconds.
BUSY_SECONDS = (0.1, 0.3, 0.6)
#: More deployments than this are looked at in Prefect's own UI.
MOST_DEPLOYMENTS = 50
_ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
_BEGUN = [*_ENDED, "RUNNING", "CANCELLING", "PENDING", "PAUSED"]


class PrefectError(RuntimeError):
    """Prefect's API refused, or answered what no Prefect API answers."""


class PrefectRefusedError(PrefectError):
    """Prefect's API said no; nothing was done."""


def api_url() -> str:
    """Where Prefect's API is."""
    return (os.environ.get("PREFECT_API_URL") or LOCAL_API).rstrip("/")


def ui_url() -> str:
    """Where Prefect's UI is, for links."""
    return (os.environ.get("PREFECT_UI_URL") or api_url().removesuffix("/api")).rstrip("/")


def deployment_link(deployment_id: str) -> str:
    """A deployment in Prefect's UI."""
    return f"{ui_url()}/deployments/deployment/{quote(deployment_id, safe='')}"


def flow_run_link(flow_run_id: str) -> str:
    """A flow run in Prefect's UI."""
    return f"{ui_url()}/runs/flow-run/{quote(flow_run_id, safe='')}"


def task_run_link(task_run_id: str) -> str:
    """A task run in Prefect's UI."""
    return f"{ui_url()}/runs/task-run/{quote(task_run_id, safe='')}"


def deployments() -> pd.DataFrame:
    """All deployments, by flow and name.

    Columns: `id`, `name` (flow/deployment), `description`, `schedule` (in words), `paused`, `next_run` (UTC, NaT:
    none), `last_run`, `last_state` (None: never), `last_seconds`, `last_run_id`.

    Raises:
        PrefectError, httpx.HTTPError: when Prefect does not answer as it should.
    """
    with _client() as client:
        found = _post(client, "/deployments/filter", {"limit": MOST_DEPLOYMENTS, "sort": "NAME_ASC"})
        flows = {each["id"]: each["name"] for each in _post(client, "/flows/filter", {"limit": 200})}
        rows = [_row(client, each, flows.get(each["flow_id"], "")) for each in found]
    frame = pd.DataFrame(rows, columns=_COLUMNS).sort_values("name", ignore_index=True)
    for name in ("next_run", "last_run"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


def run_now(deployment_id: str) -> str:
    """Asks for a run at once; returns the flow run's id."""
    with _client() as client:
        return str(_post(client, f"/deployments/{quote(deployment_id, safe='')}/create_flow_run", {})["id"])


def set_paused(deployment_id: str, paused: bool) -> None:
    """Stops a deployment's schedules, or lets them go on."""
    with _client() as client:
        _post(
            client, f"/deployments/{quote(deployment_id, safe='')}/{'pause' if paused else 'resume'}_deployment", None
        )


_COLUMNS = [
    "id", "name", "description", "schedule", "paused", "next_run", "last_run", "last_state", "last_seconds",
    "last_run_id",
]  # fmt: skip


def _row(client: httpx.Client, deployment: dict[str, Any], flow: str) -> list[Any]:
    mine = {"deployments": {"id": {"any_": [deployment["id"]]}}, "limit": 1}
    # Not by get_scheduled_flow_runs: that one says to Prefect that a worker stands ready.
    coming = _post(client, "/flow_runs/filter", {**mine, **_of(["SCHEDULED"]), "sort": "NEXT_SCHEDULED_START_TIME_ASC"})
    gone = _post(client, "/flow_runs/filter", {**mine, **_of(_BEGUN), "sort": "EXPECTED_START_TIME_DESC"})
    last = gone[0] if gone else {}
    return [
        deployment["id"], f"{flow}/{deployment['name']}", deployment.get("description") or "",
        _schedules(deployment.get("schedules") or []), bool(deployment.get("paused")),
        coming[0].get("next_scheduled_start_time") or coming[0].get("expected_start_time") if coming else None,
        last.get("start_time") or last.get("expected_start_time"), last.get("state_name") or last.get("state_type"),
        last.get("total_run_time"), last.get("id"),
    ]  # fmt: skip


def _of(states: list[str]) -> dict[str, Any]:
    return {"flow_runs": {"state": {"type": {"any_": states}}}}


def _schedules(schedules: list[dict[str, Any]]) -> str:
    words = []
    for each in schedules:
        schedule = each.get("schedule") or {}
        match schedule:
            case {"cron": cron}:
                text = f"{cron} {schedule.get('timezone') or 'UTC'}"
            case {"interval": seconds}:
                text = f"every {float(seconds):g} s"
            case _:
                text = str(schedule.get("rrule", "another schedule")).splitlines()[-1]
        words.append(text if each.get("active", True) else f"{text} (off)")
    return ", ".join(words) or "by hand"


def _client() -> httpx.Client:
    headers = {}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif login := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return httpx.Client(base_url=api_url(), headers=headers, timeout=TIMEOUT)


def _post(client: httpx.Client, path: str, body: dict[str, Any] | None) -> Any:
    answer = client.post(path, json=body)
    for seconds in BUSY_SECONDS:
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(seconds)
        answer = client.post(path, json=body)
    if answer.is_error:
        kind = PrefectRefusedError if answer.is_client_error else PrefectError
        raise kind(f"expected Prefect's API to do {path}, got {answer.status_code}: {_detail(answer)}")
    if not answer.content or answer.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        return answer.json()
    except ValueError:
        raise PrefectError(
            f"expected JSON from Prefect's API at {path}, got something else; is that its address?"
        ) from None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", ""))[:200]
    except (ValueError, AttributeError):
        return "no reason"
