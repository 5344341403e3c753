"""Signing in by OpenID Connect at the dashboard as it is run, with a real provider on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html import unescape
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser import settled
from tests.identity_provider import CLIENT, SECRET, IdentityProvider, identity_provider
from tests.ports import unused_port
from tests.running import Process, process, until
from tests.support import insert

pytestmark = pytest.mark.usefixtures("database")
OPS = {"email": "ops@example.com", "email_verified": True}


@contextmanager
def _dashboard() -> Iterator[tuple[str, IdentityProvider, Process]]:
    """The dashboard's URL, its provider and its process."""
    port = unused_port()
    url = f"http://localhost:{port}"
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
        yield url, provider, child


def _sign_in(url: str, path: str = "/", kept: dict[str, str] | None = None) -> tuple[httpx.Client, str]:
    """A browser that goes from a page to the provider and back, and where it came out."""
    client = httpx.Client(base_url=url, follow_redirects=True, timeout=30)
    page = client.get(path)
    assert page.url.path == "/sign-in"
    found = re.search(r'href="(/sign-in[^"]*)"', page.text)
    assert found, page.text
    begun = client.get(unescape(found[1]), follow_redirects=False)
    client.cookies.update(kept or {})
    return client, str(client.get(begun.headers["location"]).url).removeprefix(url)


def test_the_provider_signs_people_in_and_the_lists_let_them_in_or_not() -> None:
    people: list[tuple[dict[str, Any], int, str]] = [
        (OPS, 200, "streamlit"),
        ({"email": "ops@example.com", "email_verified": False}, 403, "neither of the lists"),
        ({"email": "stranger@example.net", "email_verified": True}, 403, "neither of the lists"),
    ]
    with _dashboard() as (url, provider, child):
        for claims, status, text in people:
            provider.claims = claims
            client, place = _sign_in(url)
            with closing(client):
                assert place == "/"
                page = client.get("/failed")
                assert (page.status_code, text in page.text.lower()) == (status, True), claims
                assert client.get("/_stcore/host-config").status_code == status
        with httpx.Client(base_url=url, timeout=30) as nobody:
            assert nobody.get("/_stcore/host-config").status_code == 401
        for secret in (SECRET, "code-", "state=", "provider="):
            assert secret not in child.output, child.output


def test_a_link_with_filters_leads_to_the_same_page_through_the_sign_in(browser: Browser) -> None:
    for name in ("apples", "pears"):
        insert(status="failed", completed_at="now", error_message=f"no room for 100% {name}", priority=9)
    link = "/history?text=100%25%20pears&priority=9&status=failed"
    with _dashboard() as (url, provider, _):
        provider.claims = OPS
        context = browser.new_context(base_url=url)
        context.set_default_timeout(60_000)
        with closing(context):
            page = context.new_page()
            page.goto(link)
            page.get_by_role("link", name="Sign in with your account").click()
            page.wait_for_url(re.compile(r"/history\?"))
            settled(page)
            expect(page.locator(".st-key-text input")).to_have_value("100% pears")
            for part in ("priority=9", "status=failed"):
                assert part in page.url
            expect(page.locator(".st-key-priority").get_by_text("9", exact=True)).to_be_visible()
            assert [each["name"] for each in context.cookies() if "way_back" in each["name"]] == []


def test_the_way_back_is_the_same_page_and_never_another_site() -> None:
    with _dashboard() as (url, provider, _):
        provider.claims = OPS
        links = ("/failed?type=note&text=a%26b", "/job?id=%3Cb%3E", "/queue")
        for link in links:
            client, place = _sign_in(url, link)
            client.close()
            assert place == link
        elsewhere = (
            "//evil.example", "/\\evil.example", "https://evil.example/", "/auth/logout", "/sign-in", "/%0d%0ax: y",
        )  # fmt: skip
        for there in elsewhere:
            for asked, kept in ((f"/sign-in?next={there}", {}), ("/", {"jobs_way_back": there.replace("\\", "%5C")})):
                client, place = _sign_in(url, asked, kept)
                client.close()
                assert place == "/", (asked, kept)
        # Nobody who is signed in already is led elsewhere by it.
        client, _ = _sign_in(url)
        with closing(client):
            assert client.get("/sign-in?begin=1&next=//evil.example").url.path == "/"
