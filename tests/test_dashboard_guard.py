"""Who is let in, over HTTP and over websockets, and who is not; the guard, the sign-in pages and their throttle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from dashboard import access, oidc, sessions, sign_in
from dashboard.guard import Guard
from dashboard.throttle import IN_ALL, PER_ADDRESS, WINDOW_SECONDS, Throttle
from models import passwords
from models.passwords import password_hash
from models.roles import Actor
from models.settings import SettingsError, settings

Configure = Callable[..., None]
OPERATORS, VIEWERS = "correct horse battery", "only ever looking"
OPERATOR_HASH, VIEWER_HASH = password_hash(OPERATORS), password_hash(VIEWERS)
HERE = ("127.0.0.1", 50_000)
STREAM = "/_stcore/stream"
OIDC = {
    "DASHBOARD_OIDC_CLIENT_ID": "jobs",
    "DASHBOARD_OIDC_CLIENT_SECRET": "not-to-be-shown",
    "DASHBOARD_OIDC_METADATA_URL": "https://id.example/.well-known/openid-configuration",
    "DASHBOARD_COOKIE_SECRET": "c" * 40,
    "DASHBOARD_OPERATORS": "Ops@Example.com,@ops.example",
    "DASHBOARD_OPERATOR_CLAIM": "groups=operators",
    "DASHBOARD_VIEWERS": "@example.com",
}


async def _page(request: Request) -> HTMLResponse:
    actor = access.visitor(request.cookies)
    return HTMLResponse(f"{actor.role} {actor.name}" if actor else "nobody")


async def _open(_: Request) -> HTMLResponse:
    return HTMLResponse("open")


async def _stream(websocket: WebSocket) -> None:
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(f"heard {await websocket.receive_text()}")


def _application() -> Starlette:
    """What stands behind the guard: Streamlit's paths, each open by itself."""
    return Starlette(
        routes=[
            Route("/api/jobs", _open),
            *sign_in.routes(),
            WebSocketRoute(STREAM, _stream),
            Route("/_stcore/health", _open),
            Route("/{rest:path}", _page, methods=["GET", "POST"]),
        ],
        middleware=[Middleware(Guard)],
    )


def _client(peer: tuple[str, int] = HERE, host: str = "localhost") -> TestClient:
    return TestClient(_application(), base_url=f"http://{host}", client=peer, follow_redirects=False)


@pytest.fixture
def with_passwords(configure: Configure) -> None:
    configure(DASHBOARD_PASSWORD_HASH=OPERATOR_HASH, DASHBOARD_VIEWER_PASSWORD_HASH=VIEWER_HASH)


def _sign_in(client: TestClient, password: str = OPERATORS, **fields: str) -> Any:
    return client.post("/sign-in", data={"password": password, **fields})


def _opens(client: TestClient, **headers: str) -> bool:
    try:
        with client.websocket_connect(f"ws://{client.base_url.host}{STREAM}", headers=headers) as websocket:
            websocket.send_text("hello")
            return bool(websocket.receive_text() == "heard hello")
    except WebSocketDisconnect:
        return False


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8501", "127.0.0.1:8501", "[::1]:8501"])
def test_without_a_sign_in_this_machine_is_let_in_and_may_act(address: str, host: str) -> None:
    client = _client((address, 1))
    page = client.get("/", headers={"host": host})
    assert (page.status_code, page.text.split()[0]) == (200, "operator")
    assert _opens(client, host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("2001:db8::7", {}),
        ("testclient", {}),
        ("127.0.0.1", {"host": "rebound.example"}),
        ("127.0.0.1", {"host": "localhost.rebound.example"}),
        ("127.0.0.1", {"host": "127.0.0.1.rebound.example:8501"}),
        ("127.0.0.1", {"host": "[::1"}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("192.0.2.7", {"x-forwarded-for": "127.0.0.1"}),
    ],
)
def test_without_a_sign_in_nobody_else_gets_a_page_or_a_websocket(address: str, headers: dict[str, str]) -> None:
    client = _client((address, 1))
    for path in ("/", "/failed", "/_stcore/metrics", "/media/x", "/static/x.js", "/apix", "/_stcore/healthx"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403
        assert "DASHBOARD_PASSWORD_HASH" in answer.text
    assert not _opens(client, **headers)


def test_a_page_of_another_site_opens_no_websocket_and_posts_nothing() -> None:
    client = _client()
    for origin in ("http://localhost:3000", "http://evil.example", "https://localhost", "null", "http://[::1"):
        same = origin == "https://localhost"  # a proxy ends TLS before us: the host is what counts
        assert _opens(client, origin=origin) is same
        assert client.post("/_stcore/upload_file/x", headers={"origin": origin}).status_code == (200 if same else 403)


def test_the_public_address_is_the_same_site_and_another_port_of_this_machine_is_not(configure: Configure) -> None:
    assert not _opens(_client(host="localhost:8600"), host="localhost:8600", origin="http://localhost:8501")
    configure(PUBLIC_URL="https://jobs.example")
    assert _opens(_client(), origin="https://jobs.example")
    assert not _opens(_client(), origin="https://jobs.example.evil.example")


def test_health_and_the_api_are_open_to_all_as_the_api_has_tokens_of_its_own() -> None:
    client = _client(("192.0.2.7", 1), host="jobs.example")
    assert client.get("/_stcore/health").text == client.get("/api/jobs").text == "open"


@pytest.mark.usefixtures("with_passwords")
def test_with_a_password_nothing_of_streamlit_answers_before_the_sign_in() -> None:
    client = _client(("192.0.2.7", 1), host="jobs.example")
    assert client.get("/failed?type=a&text=b").headers["location"] == "/sign-in?next=%2Ffailed%3Ftype%3Da%26text%3Db"
    for path in (STREAM, "/_stcore/metrics", "/_stcore/host-config", "/static/x.js", "/media/x"):
        assert client.get(path).status_code == 401
    assert not _opens(client)
    assert client.get("/sign-in").status_code == client.get("/_stcore/health").status_code == 200


@pytest.mark.usefixtures("with_passwords")
@pytest.mark.parametrize(("password", "role"), [(OPERATORS, "operator"), (VIEWERS, "viewer")])
def test_a_password_opens_pages_and_websockets_in_its_role_until_sign_out(password: str, role: str) -> None:
    client = _client(("192.0.2.7", 1), host="jobs.example")
    entered = _sign_in(client, password, name="Anna <b>", next="/failed?type=a")
    assert (entered.status_code, entered.headers["location"]) == (303, "/failed?type=a")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert client.get("/").text == f"{role} Anna <b> (shared password)"
    with client.websocket_connect(f"ws://jobs.example{STREAM}") as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "heard hello"
        kept = client.cookies[sessions.COOKIE]
        assert client.post("/sign-out").headers["location"] == "/sign-in"
        websocket.send_text("still here?")
        with pytest.raises(WebSocketDisconnect):
            websocket.receive_text()
    client.cookies.set(sessions.COOKIE, kept)
    assert client.get("/").status_code == 303
    assert not _opens(client)


@pytest.mark.usefixtures("with_passwords")
def test_the_cookie_is_for_https_only_where_the_public_address_is(configure: Configure) -> None:
    configure(PUBLIC_URL="https://jobs.example")
    assert "secure" in _sign_in(_client()).headers["set-cookie"].lower()


@pytest.mark.usefixtures("with_passwords")
def test_a_cookie_that_was_changed_or_is_old_or_whose_password_was_changed_is_worth_nothing(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = sessions.new_session("anna", "viewer")
    session = sessions.read_session(value)
    assert session is not None and session.actor == Actor("anna (shared password)", "viewer")
    body, _, signature = value.partition(".")
    operators, _, _ = sessions.new_session("anna", "operator").partition(".")
    for wrong in (
        "",
        "x",
        ".",
        f"{body}.",
        f"{operators}.{signature}",
        f"{body}x.{signature}",
        f"e30.{signature}",
        "é.é",
    ):
        assert sessions.read_session(wrong) is None
    later = time.time() + sessions.SESSION_SECONDS + 1
    with monkeypatch.context() as patched:
        # Its own clock only: other threads look at the process's.
        patched.setattr(sessions, "time", SimpleNamespace(time=lambda: later))
        assert sessions.read_session(value) is None
    configure(DASHBOARD_VIEWER_PASSWORD_HASH=password_hash("another long password"))
    assert sessions.read_session(value) is None


@pytest.mark.usefixtures("with_passwords")
def test_a_wrong_password_is_said_and_is_in_no_log_nor_page(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        answer = _sign_in(_client(), "my mistaken secret", next="//evil.example/<script>")
    assert answer.status_code == 401
    assert "That is not the password" in answer.text and "set-cookie" not in answer.headers
    assert "my mistaken secret" not in answer.text + caplog.text
    assert "evil" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.usefixtures("with_passwords")
@pytest.mark.parametrize(
    "there", ["//evil.example", "/\\evil.example", "https://evil.example", "/sign-in", "/auth/logout", "", "/a\nb"]
)
def test_the_sign_in_leads_nowhere_else(there: str) -> None:
    assert _sign_in(_client(), next=there).headers["location"] == "/"


@pytest.mark.usefixtures("with_passwords")
def test_passwords_cannot_be_tried_without_end_and_others_are_not_locked_out() -> None:
    application = _application()
    guesser, colleague = (
        TestClient(application, base_url="http://jobs.example", client=(address, 1), follow_redirects=False)
        for address in ("192.0.2.7", "192.0.2.8")
    )
    for _ in range(PER_ADDRESS):
        assert _sign_in(guesser, "not this one at all").status_code == 401
    stopped = _sign_in(guesser, OPERATORS)
    assert stopped.status_code == 429
    assert 0 < int(stopped.headers["retry-after"]) <= WINDOW_SECONDS
    assert _sign_in(colleague).status_code == 303


@pytest.mark.usefixtures("with_passwords")
def test_a_huge_form_is_read_no_further_than_it_must() -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"a" * 1024

    assert _client().post("/sign-in", content=endless()).status_code == 413
    assert not passwords.fits("a" * 5000, OPERATOR_HASH)


def test_the_throttle_forgets_after_its_window_counts_networks_and_bounds_all_addresses_together() -> None:
    now = 1000.0
    throttle = Throttle(clock=lambda: now)
    for number in range(PER_ADDRESS):
        assert throttle.begin(f"2001:db8::{number:x}") == 0
    assert throttle.begin("2001:db8::ffff") == WINDOW_SECONDS
    assert throttle.begin("2001:db8:0:1::1") == 0
    throttle.forgive("2001:db8::1")
    assert throttle.begin("2001:db8::ffff") == 0
    for number in range(IN_ALL):
        throttle.begin(f"10.0.0.{number}")
    assert throttle.begin("10.9.9.9") > 0
    now += WINDOW_SECONDS
    assert throttle.begin("10.9.9.9") == 0


def _claims(client: TestClient, **claims: Any) -> TestClient:
    """Streamlit's cookie after the provider said these things."""
    content = json.dumps({"is_logged_in": True, "origin": "http://jobs.example", **claims})
    value = create_signed_value(OIDC["DASHBOARD_COOKIE_SECRET"], "_streamlit_user", content)
    client.cookies.set("_streamlit_user", value.decode())
    return client


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "ops@example.com", "email_verified": True}, "operator"),
        ({"email": "somebody@ops.example", "email_verified": "true"}, "operator"),
        ({"sub": "7", "groups": ["staff", "operators"]}, "operator"),
        ({"sub": "7", "groups": "operators"}, "operator"),
        ({"email": "anna@example.com", "email_verified": True}, "viewer"),
        ({"email": "ops@example.com", "email_verified": False}, None),
        ({"email": "ops@example.com"}, None),
        ({"email": "ops@example.com.evil.example", "email_verified": True}, None),
        ({"email": "x@evil-ops.example", "email_verified": True}, None),
        ({"sub": "7", "groups": ["operators-not"]}, None),
        ({}, None),
        ({"is_logged_in": False, "email": "ops@example.com", "email_verified": True}, None),
    ],
)
def test_the_provider_says_who_it_is_and_the_lists_say_what_they_may(
    configure: Configure, claims: dict[str, Any], role: str | None
) -> None:
    configure(**OIDC)
    client = _claims(_client(("192.0.2.7", 1), host="jobs.example"), **claims)
    page = client.get("/")
    assert page.text.split()[0] == role if role else page.status_code in {303, 403}
    assert _opens(client) is (role is not None)


def test_with_a_provider_its_paths_are_open_and_streamlits_stream_is_not(configure: Configure) -> None:
    configure(**OIDC)
    client = _client(("192.0.2.7", 1), host="jobs.example")
    assert client.get("/").headers["location"] == "/sign-in"
    assert not _opens(client)
    for path in oidc.PATHS:
        assert client.get(path).status_code != 303
    client.cookies.set("_streamlit_user", "made-up")
    assert client.get("/").status_code == 303
    assert oidc.secrets()["auth"]["redirect_uri"] == "http://localhost:8501/oauth2callback"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"DASHBOARD_OIDC_CLIENT_SECRET": ""}, "missing: DASHBOARD_OIDC_CLIENT_SECRET"),
        ({"DASHBOARD_PASSWORD_HASH": OPERATOR_HASH}, "got two"),
        ({"DASHBOARD_OIDC_METADATA_URL": "http://id.example/x"}, "expected https://"),
        ({"DASHBOARD_COOKIE_SECRET": "short-secret"}, "expected at least 32 characters, got 12"),
        ({"DASHBOARD_OPERATORS": "*"}, "not everybody may act"),
        ({"DASHBOARD_VIEWERS": "anna"}, "expected e-mail addresses or @domains"),
        ({"DASHBOARD_OPERATOR_CLAIM": "operators"}, "expected name=value"),
        ({"DASHBOARD_OPERATORS": "", "DASHBOARD_VIEWERS": "", "DASHBOARD_OPERATOR_CLAIM": ""}, "must be let in"),
    ],
)
def test_settings_that_would_let_in_the_wrong_ones_are_refused(
    configure: Configure, changed: dict[str, str], expected: str
) -> None:
    configure(**{**OIDC, **changed})
    with pytest.raises(SettingsError, match=expected.replace("*", r"\*")) as refused:
        settings()
    assert OPERATOR_HASH not in str(refused.value) and "short-secret" not in str(refused.value)


def test_a_password_in_the_place_of_its_hash_is_refused_and_not_shown(configure: Configure) -> None:
    configure(DASHBOARD_PASSWORD_HASH=OPERATORS)
    with pytest.raises(SettingsError, match="jobs password") as refused:
        settings()
    assert OPERATORS not in str(refused.value)


def test_a_short_password_gets_no_hash() -> None:
    with pytest.raises(ValueError, match="expected a password of 12 to 1024 characters, got 5"):
        password_hash("short")
