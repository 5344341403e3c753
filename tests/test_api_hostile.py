"""Bodies and headers that mean harm: answered with a 4xx and a problem, never with a 500; and the store away: 503."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from api_server import OPERATOR, TOKENS, client, serving
from running import process, until
from support import job_type, known, query, value

from dashboard.api.jobs import BATCH_LIMIT_BYTES
from dashboard.api.routing import BODY_LIMIT_BYTES
from models.door import PAYLOAD_LIMIT_BYTES
from tests.ports import unused_port

pytestmark = pytest.mark.usefixtures("tokens")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def tokens(database, configure) -> Iterator[None]:
    configure(**TOKENS)
    with known(job_type()):
        yield


@pytest.fixture
def operator(url: str) -> Iterator[httpx.Client]:
    with client(url) as found:
        yield found


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nonsense", b"\xff\xfe", b"\xef\xbb\xbf{}", b'"\xed\xa0\x80"', b'{"type": "\\ud800"}',
        b"[" * 50_000,
        b'{"type": "note", "payload": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"type": "note", "priority": ' + b"9" * 5000 + b"}", b'{"type": "note", "payload": {"a": NaN}}',
        b'{"type": "note", "payload": {"a": -Infinity}}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_400(operator: httpx.Client, body: bytes) -> None:
    for path in ("/jobs", "/admin/jobs/retry"):
        answer = operator.post(path, content=body, headers=JSON)
        assert answer.status_code == 400 or (answer.status_code, body) == (422, b"")
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        b"null", b"7", b'"note"', b'[[{"type": "note"}]]', b'{"type": "note", "payload": {"text": "\\u0000"}}',
        b'{"type": "note\\u0000"}', b'{"type": "note", "uniqueKey": "\\u0000"}', b'{"type": "note", "\\u0000": 1}',
        b'{"type": "note", "priority": 99999999999999999999999999}', b'{"type": "note", "priority": 1e999}',
        b'{"type": "note", "payload": {"copies": 1e999}}', b'{"type": "note", "maxRetries": -1}',
        b'{"type": "note", "payload": {"text": "x", "copies": 123456789012345678901234567890.5}}',
        b'{"type": "note", "scheduledFor": "99999-01-01T00:00:00Z"}', b'{"__proto__": {}, "type": {}}',
    ],
)  # fmt: skip
def test_what_fits_no_job_is_a_422(operator: httpx.Client, body: bytes) -> None:
    answer = operator.post("/jobs", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert value("SELECT count(*) FROM background_jobs") == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
def test_another_content_type_is_a_415(operator: httpx.Client, kind: str | None) -> None:
    answer = operator.post("/jobs", content=b'{"type": "note"}', headers={} if kind is None else {"Content-Type": kind})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(("path", "limit"), [("/jobs", BATCH_LIMIT_BYTES), ("/admin/jobs/retry", BODY_LIMIT_BYTES)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_a_413(operator: httpx.Client, path: str, limit: int, chunked: bool) -> None:
    body = b" " * (limit + 1)
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    answer = operator.post(path, content=chunks if chunked else body, headers=JSON)
    assert answer.status_code == 413
    assert f"at most {limit:,} bytes" in answer.json()["detail"]


def test_a_length_over_the_limit_is_refused_before_the_body_comes(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    head = [
        "POST /api/jobs HTTP/1.1", "Host: x", f"Authorization: Bearer {OPERATOR}", "Content-Type: application/json",
        "Content-Length: 99999999999999",
    ]  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall("\r\n".join([*head, "", ""]).encode())
        assert b" 413 " in raw.recv(65536).split(b"\r\n")[0]


def test_a_payload_over_the_limit_is_a_413_and_one_at_it_is_taken(operator: httpx.Client) -> None:
    room = PAYLOAD_LIMIT_BYTES - len(json.dumps({"text": ""}))
    assert operator.post("/jobs", json={"type": "note", "payload": {"text": "x" * room}}).status_code == 201
    answer = operator.post("/jobs", json=[{"type": "note", "payload": {"text": "x" * (room + 1)}}])
    assert answer.status_code == 413
    assert "job 0: payload: expected at most 1,048,576 bytes" in answer.json()["detail"]


def test_more_than_a_thousand_jobs_come_in_parts(operator: httpx.Client) -> None:
    assert operator.post("/jobs", json=[{"type": "note"}] * 1000).json()["added"] == 1000
    assert operator.post("/jobs", json=[{"type": "note"}] * 1001).status_code == 413


def test_a_sane_request_id_comes_back_and_another_does_not(operator: httpx.Client) -> None:
    answer = operator.get("/nothing", headers={"X-Request-ID": "trace-1.a:b"})
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "trace-1.a:b"
    for strange in ("", "a b", "<script>", "x" * 101, "\u00e4".encode(), "-a", '"'):
        found = operator.get("/nothing", headers={"X-Request-ID": strange}).headers["X-Request-ID"]
        assert len(found) == 32 and found != strange


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/jobs", 405), ("GET", "", 404)]
)
def test_what_is_not_there_is_a_problem_too(operator: httpx.Client, method: str, path: str, status: int) -> None:
    answer = operator.request(method, path)
    assert answer.status_code == status
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= answer.json().keys()
    if status == 405:
        assert answer.headers["Allow"] == "GET, POST"


def test_outside_of_the_api_there_is_nothing(url: str) -> None:
    for path in ("/", "/apis", "/docs", "//api/jobs", "/api", "/%0A"):
        answer = httpx.get(f"{url}{path}")
        assert (answer.status_code, answer.json()["status"]) == (404, 404)


def test_a_line_break_in_a_path_stays_within_the_api(operator: httpx.Client) -> None:
    assert "there is no job" in operator.get("/jobs/a%0Ab").json()["detail"]
    assert "This link does not work" in operator.get("/unsubscribe/a%0A").text


def test_nothing_is_redirected(url: str) -> None:
    for path in ("/api/jobs/", "/api/healthz/", "/api//evil.example", "/api/docs/", "/api/docs/assets"):
        answer = httpx.get(f"{url}{path}", headers={"Host": "evil.example", "Authorization": f"Bearer {OPERATOR}"})
        assert answer.status_code == 404 and "Location" not in answer.headers


def test_every_answer_shuts_browsers_out(operator: httpx.Client) -> None:
    for path in ("/healthz", "/jobs", "/nothing", "/openapi.json"):
        headers = operator.get(path).headers
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")


def test_a_lost_connection_costs_one_answer_at_most(operator: httpx.Client) -> None:
    assert operator.get("/jobs").status_code == 200
    query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dirtfree-jobs dashboard'")
    assert {operator.get("/jobs").status_code for _ in range(2)} <= {200, 503}
    assert operator.get("/jobs").status_code == 200


def test_without_a_database_it_lives_says_so_and_asks_to_come_again(url: str) -> None:
    port, away = unused_port(), f"postgresql://someone:hidden-password@127.0.0.1:{unused_port()}/none"
    command = ("-m", "uvicorn", "dashboard.api:app", "--port", str(port))
    with process(*command, DATABASE_URL=away, **TOKENS) as child, client(f"http://127.0.0.1:{port}") as operator:

        def alive() -> bool:
            try:
                return operator.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(alive, what="the API's start")
        for path in ("/readyz", "/jobs", "/jobs/x", "/metrics", "/admin/jobs/stats"):
            answer = operator.get(path)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "hidden-password" not in answer.text
        assert operator.post("/jobs", json={"type": "note"}).status_code == 503
        assert operator.get("/unsubscribe/somebodys.link").status_code == 404
        until(lambda: "GET /api/unsubscribe/..." in child.output, what="the access log")
        assert "somebodys" not in child.output
        assert not any(secret in child.output for secret in (*TOKENS.values(), "hidden-password"))
