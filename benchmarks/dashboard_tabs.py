"""`python -m benchmarks.dashboard_tabs URL N`: N browser tabs that look at the Overview until standard input ends.

A process of its own that gets what the others leave: in real life the browsers are on other machines.
"""

from __future__ import annotations

import os
import sys

from benchmarks.chromium import browser, settled


def main(url: str, tabs: int) -> None:
    if hasattr(os, "SCHED_IDLE"):
        # Not os.nice: as root Chromium takes its priority back, to -8.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with browser() as launched:
        pages = [launched.new_context(viewport={"width": 1440, "height": 900}).new_page() for _ in range(tabs)]
        for page in pages:
            page.goto(url)
        for page in pages:
            settled(page)
        print("open", flush=True)
        # Until somebody closes it. The tabs refresh by themselves, Playwright has nothing to do meanwhile.
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
