"""A Chromium for the measurements and the pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_CONNECTED = "[data-testid=stApp][data-test-connection-state=CONNECTED]"
_AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]"


@contextmanager
def browser() -> Iterator[Browser]:
    """CHROMIUM, or one on the PATH, or Playwright's own."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield launched
        finally:
            launched.close()


def settled(page: Page) -> None:
    """Waits until a page of the dashboard is connected and drawn."""
    for state in (_CONNECTED, _AT_REST):
        page.locator(state).wait_for(state="attached", timeout=120_000)
    page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=120_000)

