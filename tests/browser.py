"""What the browser tests share: one Chromium and one dashboard a module, and waiting until a page stands still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.chromium import Found, chromium, reported
from tests.ports import unused_port
from tests.running import Process, process, until

#: Nothing of its own over the network, nothing that needs a GPU or a user's name space.
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
#: The first run of a page imports pandas and Plotly, while another process may have the other core.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


def required() -> bool:
    """Whether a missing Chromium is a failure."""
    return os.environ.get("CI", "").lower() in {"true", "1"}


def summary() -> str | None:
    """The line for the end of the test run."""
    found = reported()
    if found is None:
        return None
    return f"browser tests ran in {found.said}" if found.path else f"BROWSER TESTS DID NOT RUN: {found.said}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the module's tests."""
    found: Found = chromium()
    if found.path is None:
        if required():
            pytest.fail(f"no Chromium, and CI=true: {found.said}")
        pytest.skip(f"no Chromium: {found.said}")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found.path, args=ARGUMENTS)
        yield launched
        launched.close()


class Dashboard:
    """A dashboard that runs, and the requests its pages made to others."""

    def __init__(self, url: str, child: Process) -> None:
        self.url = url
        self.child = child
        self.foreign: list[str] = []

    @contextmanager
    def visitor(self, browser: Browser, *, dark: bool = False, size: dict[str, int] = WIDE) -> Iterator[Page]:
        """A page of a browser that has no cookies yet."""
        context = browser.new_context(
            base_url=self.url, color_scheme="dark" if dark else "light", viewport=size, locale="en-GB",  # type: ignore[arg-type]
            timezone_id="Europe/Berlin",
        )  # fmt: skip
        context.set_default_timeout(PATIENCE_MS)
        self._watch(context)
        try:
            yield context.new_page()
        finally:
            context.close()

    def _watch(self, context: BrowserContext) -> None:
        here = urlsplit(self.url).netloc

        def note(request: Request) -> None:
            there = urlsplit(request.url)
            if there.scheme not in {"data", "blob"} and there.netloc != here:
                self.foreign.append(request.url)

        context.on("request", note)


@contextmanager
def dashboard(**environment: str) -> Iterator[Dashboard]:
    """`streamlit run dashboard/app.py` on a port of its own."""
    port = unused_port()
    command = ("-m", "streamlit", "run", "dashboard/app.py", "--server.port", str(port))
    with process(*command, **environment) as child:
        url = f"http://localhost:{port}"

        def up() -> bool:
            assert child.running, child.output[-3000:]
            try:
                return httpx.get(f"{url}/_stcore/health", timeout=2).text == "ok"
            except httpx.HTTPError:
                return False

        until(up, what="the dashboard's start")
        yield Dashboard(url, child)


def settled(page: Page) -> None:
    """Waits until the page is connected, its script has run, and nothing is drawn stale."""
    app = page.locator("[data-testid=stApp][data-test-connection-state=CONNECTED]")
    app.wait_for(state="attached")
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(state="attached")
    # A click reaches the server a moment later: what stood still before it must not be taken for after it.
    page.wait_for_timeout(250)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(state="attached")
    page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')")


def visit(page: Page, path: str) -> None:
    """Opens a path of the dashboard and waits for it."""
    page.goto(path)
    settled(page)


def flawless(page: Page) -> None:
    """No exception is shown, and nothing is wider than the window."""
    exceptions = page.locator("[data-testid=stException]").all_inner_texts()
    assert not exceptions, f"{page.url}: {exceptions}"
    for part in ("html", "[data-testid=stMain]"):
        # Charts and tables follow the window's width a moment later.
        until(
            lambda part=part: _overhang(page, part) <= 0,
            what=f"{page.url}: {part} scrolls sideways by {_overhang(page, part)} pixels; fitting the window",
        )


def _overhang(page: Page, part: str) -> int:
    """By how many pixels a part is wider than what is seen of it."""
    return int(
        page.evaluate("part => { const e = document.querySelector(part); return e.scrollWidth - e.clientWidth }", part)
    )
