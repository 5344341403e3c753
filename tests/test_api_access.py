"""Who gets in: every endpoint without a token, with a wrong one, and with each of the three."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from api_server import CRON, OPERATOR, TOKENS, VIEWER, client, serving

from models.settings import PROJECT_ROOT, SettingsError, settings

READS = ["/jobs", "/jobs/j1", "/admin/jobs/stats", "/admin/jobs/failed", "/metrics"]
ACTS = ["/jobs", "/jobs/j1/cancel", "/admin/jobs/retry"]
CRONS = ["/cron/process-opportunities", "/cron/cleanup-old-jobs"]
ALL = [("GET", path) for path in READS] + [("POST", path) for path in ACTS + CRONS]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def _tokens(database, configure) -> None:
    configure(**TOKENS)


def ask(url: str, method: str, path: str, token: str | None) -> httpx.Response:
    with client(url, token) as asking:
        return asking.request(method, path, json={} if method == "POST" else None)


@pytest.mark.parametrize(("method", "path"), ALL)
def test_nobody_gets_in_without_the_right_token(url: str, method: str, path: str) -> None:
    for token in (None, "wrong-token-0123456789", OPERATOR[:-1], ""):
        answer = ask(url, method, path, token)
        assert answer.status_code == 401
        assert answer.json() == {"error": "Unauthorized"}
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", READS)
def test_a_viewer_may_look(url: str, path: str) -> None:
    assert ask(url, "GET", path, VIEWER).status_code == (404 if path == "/jobs/j1" else 200)


@pytest.mark.parametrize("path", ACTS)
def test_a_viewer_may_not_act_and_is_told_so(url: str, path: str) -> None:
    answer = ask(url, "POST", path, VIEWER)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "may only look" in answer.json()["detail"]
    assert VIEWER not in answer.text


@pytest.mark.parametrize(("method", "path"), [each for each in ALL if each[1] not in CRONS])
def test_an_operator_may_look_and_act(url: str, method: str, path: str) -> None:
    assert ask(url, method, path, OPERATOR).status_code in {200, 404, 422}


@pytest.mark.parametrize("path", CRONS)
def test_the_cron_endpoints_take_the_cron_secret_and_nothing_else(url: str, path: str) -> None:
    assert ask(url, "POST", path, CRON).status_code == 200
    assert ask(url, "POST", path, OPERATOR).status_code == 401
    assert ask(url, "POST", path, VIEWER).status_code == 401


@pytest.mark.parametrize(("method", "path"), [each for each in ALL if each[1] not in CRONS])
def test_the_cron_secret_opens_nothing_else(url: str, method: str, path: str) -> None:
    assert ask(url, method, path, CRON).status_code == 401


@pytest.mark.parametrize(("method", "path"), ALL)
def test_all_is_closed_when_no_token_is_set(url: str, configure, method: str, path: str) -> None:
    configure(ADMIN_API_TOKEN="", ADMIN_API_READ_TOKEN="", CRON_SECRET="")
    for token in (None, "", OPERATOR, CRON, "None", "null"):
        assert ask(url, method, path, token).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": f"Authorization=Bearer {OPERATOR}; token={OPERATOR}"},
        {"Authorization": OPERATOR},
        {"Authorization": f"Basic {OPERATOR}"},
        {"X-Api-Key": OPERATOR},
    ],
)
def test_a_token_anywhere_else_is_not_seen(url: str, headers: dict[str, str]) -> None:
    with client(url, None) as asking:
        assert asking.get(f"/jobs?token={OPERATOR}&access_token={OPERATOR}", headers=headers).status_code == 401


def test_a_token_of_other_bytes_is_wrong(url: str) -> None:
    with client(url, None) as asking:
        for token in (b"\xc3\xa4", b"\xff" * 30, b"a\tb"):
            assert asking.get("/jobs", headers={"Authorization": b"Bearer " + token}).status_code == 401


def test_two_tokens_are_none(url: str) -> None:
    headers = [("Authorization", f"Bearer {OPERATOR}"), ("Authorization", "Bearer x")]
    with client(url, None) as asking:
        assert asking.get("/jobs", headers=headers).status_code == 401


def test_the_schemes_name_is_read_in_any_case(url: str) -> None:
    with client(url, None) as asking:
        assert asking.get("/jobs", headers={"Authorization": f"bEARER  {OPERATOR}"}).status_code == 200


def test_the_token_is_asked_for_before_the_body_is_looked_at(url: str) -> None:
    with client(url, None) as asking:
        assert asking.post("/jobs", content=b"{").status_code == 401
        assert asking.post("/jobs", content=iter([b"x" * 65536] * 200)).status_code == 401


def test_liveness_and_readiness_are_open_and_say_nothing_more(url: str) -> None:
    with client(url, None) as asking:
        assert asking.get("/healthz").json() == {"status": "ok"}
        assert asking.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("value", ["short", "has a space in it 0123", "umlaut-\u00e4-0123456789"])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused_at_start(configure, value: str) -> None:
    configure(CRON_SECRET=value)
    with pytest.raises(SettingsError, match="CRON_SECRET=a secret value: expected 16 to 500") as refused:
        settings()
    assert value not in str(refused.value)


def test_one_token_for_two_rights_is_refused_at_start(configure) -> None:
    configure(CRON_SECRET=OPERATOR)
    with pytest.raises(SettingsError, match="expected different ones") as refused:
        settings()
    assert OPERATOR not in str(refused.value)


def test_the_api_needs_neither_streamlit_nor_prefect() -> None:
    check = "import sys, dashboard.api; sys.exit(bool({'streamlit', 'prefect', 'tasks', 'flows'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], cwd=PROJECT_ROOT).returncode == 0
