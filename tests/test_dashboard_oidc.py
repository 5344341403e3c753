"""Signing in by OpenID Connect at the dashboard as it is run, with a real provider on loopback."""

from __future__ import annotations

import re
from contextlib import closing
from html import unescape
from typing import Any

import httpx
import pytest

from tests.identity_provider import CLIENT, SECRET, identity_provider
from tests.running import process, until, unused_port

pytestmark = pytest.mark.usefixtures("database")


def _sign_in(url: str) -> httpx.Client:
    """A browser that goes from the first page to the provider and back."""
    client = httpx.Client(base_url=url, follow_redirects=True, timeout=30)
    page = client.get("/")
    assert page.url.path == "/sign-in"
    found = re.search(r'href="(/auth/login[^"]*)"', page.text)
    assert found, page.text
    assert client.get(unescape(found[1])).url.path == "/"
    return client


def test_the_provider_signs_people_in_and_the_lists_let_them_in_or_not() -> None:
    port = unused_port()
    url = f"http://localhost:{port}"
    people: list[tuple[dict[str, Any], int, str]] = [
        ({"email": "ops@example.com", "email_verified": True}, 200, "streamlit"),
        ({"email": "ops@example.com", "email_verified": False}, 403, "neither of the lists"),
        ({"email": "stranger@example.net", "email_verified": True}, 403, "neither of the lists"),
    ]
    with (
        identity_provider() as provider,
        process(
            "-m", "uvicorn", "dashboard.app:app", "--port", str(port),
            PUBLIC_URL=url,
            DASHBOARD_OIDC_CLIENT_ID=CLIENT,
            DASHBOARD_OIDC_CLIENT_SECRET=SECRET,
            DASHBOARD_OIDC_METADATA_URL=provider.metadata_url,
            DASHBOARD_OPERATORS="ops@example.com",
        ) as child,
    ):  # fmt: skip
        until(lambda: "Uvicorn running" in child.output or not child.running, what="the dashboard's start")
        assert child.running, child.output
        for claims, status, text in people:
            provider.claims = claims
            with closing(_sign_in(url)) as client:
                page = client.get("/failed")
                assert (page.status_code, text in page.text.lower()) == (status, True), claims
                assert client.get("/_stcore/host-config").status_code == status
        with httpx.Client(base_url=url) as nobody:
            assert nobody.get("/_stcore/host-config").status_code == 401
        for secret in (SECRET, "code-", "state=", "provider="):
            assert secret not in child.output, child.output
