"""What ten open Overviews cost the worker: throughput with them and without, in turn, in the same run.

Once as sessions of which nothing is drawn here, as the viewers' browsers are on other machines, and once as tabs of a
Chromium on this machine, which takes its share of two cores for drawing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks.surroundings import configure, empty
from deployments.dashboard_server import DashboardServer
from deployments.output import print_table
from flows.process_jobs import process_jobs
from models import database, job_queue
from models.reading import APPLICATION_NAME

TABS = 10
#: A round lasts longer than a refresh of the tabs (5 s).
JOBS = 100_000
#: Opening a tab costs more than an open one: that is over by then.
SETTLE_SECONDS = 10.0
#: Rounds differ by a tenth on their own, and more.
ROUNDS = 6
#: What is promised.
MOST_LOST = 0.05


def measure() -> None:
    """Prints jobs per second without and with the tabs, and the ratio."""
    configure(concurrency=3, batch_size=50)
    quiet, watched, drawn, spent, asked = [], [], [], [], []
    with _dashboard() as shown:
        _round()  # the first one warms everything up
        for number in range(ROUNDS):
            # Before the watched rounds and after them by turns, so that none of them always comes first.
            if number % 2 == 0:
                quiet.append(_round())
            with _viewers("dashboard_sessions", shown.url):
                time.sleep(SETTLE_SECONDS)
                before, began = _cpu_seconds(shown), time.perf_counter()
                watched.append(_round())
                seconds = time.perf_counter() - began
                own, queries = (now - then for now, then in zip(_cpu_seconds(shown), before, strict=True))
                spent.append(own / seconds)
                asked.append(queries / seconds)
            with _viewers("dashboard_tabs", shown.url):
                time.sleep(SETTLE_SECONDS)
                drawn.append(_round())
            if number % 2:
                quiet.append(_round())
    ratio = statistics.median(watched) / statistics.median(quiet)
    drawn_ratio = statistics.median(drawn) / statistics.median(quiet)
    print_table(
        f"No-op jobs per second, {TABS} times the Overview (median of {ROUNDS} rounds)",
        ("what", "median", "all rounds"),
        [
            ("unwatched", f"{statistics.median(quiet):,.0f}", _rates(quiet)),
            ("with sessions", f"{statistics.median(watched):,.0f}", _rates(watched)),
            ("ratio of the medians", f"{ratio:.3f}", ""),
            ("promised", f"at least {1 - MOST_LOST:.2f}", "kept" if ratio >= 1 - MOST_LOST else "NOT KEPT"),
            ("cores the dashboard took", *_shares(spent)),
            ("cores its queries took", *_shares(asked)),
            ("with tabs drawn on this machine", f"{statistics.median(drawn):,.0f}", _rates(drawn)),
            ("ratio of the medians", f"{drawn_ratio:.3f}", ""),
        ],
    )


def _rates(values: list[float]) -> str:
    return ", ".join(f"{rate:,.0f}" for rate in values)


def _round() -> float:
    empty()
    job_queue.add_batch({"type": "bench_nothing", "payload": {"number": number}} for number in range(JOBS))
    summary = process_jobs(drain=True)
    assert summary.completed == JOBS, summary
    return JOBS / summary.seconds


@contextmanager
def _dashboard() -> Iterator[DashboardServer]:
    shown = DashboardServer({}, os.environ["PREFECT_API_URL"].removesuffix("/api"))
    shown.child.start()
    try:
        shown.wait()
        yield shown
    finally:
        shown.child.stop(grace=5)


@contextmanager
def _viewers(module: str, url: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", url, str(TABS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.readline().strip() != "open":
            raise RuntimeError(f"the viewers did not open; exit code {process.wait()}")
        yield
    finally:
        process.stdin.close()
        process.wait()


def _cpu_seconds(shown: DashboardServer) -> tuple[float, float]:
    """What the dashboard's process has used, and PostgreSQL for its connections."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [APPLICATION_NAME])
        backends = [int(row[0]) for row in rows]
    return _used(shown.child.pid or 0), sum(map(_used, backends))


def _used(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _shares(values: list[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.2f}", ", ".join(f"{each:.2f}" for each in values)
