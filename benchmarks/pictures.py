"""`python -m benchmarks.pictures`: the README's pictures of the dashboard, in light and dark. Takes ten minutes.

They show it as an operator sees it: a worker runs and samples the backlog, offers and their mails come and go. Only the
past is made up: what was really counted in these minutes, repeated over two days.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser

from benchmarks.chromium import browser, settled
from benchmarks.surroundings import surroundings
from deployments.dashboard_server import DashboardServer
from deployments.prefect_server import log_folder
from deployments.processes import Child, wait_until
from models import database, job_queue
from models.backlog_samples import MOMENT_MINUTES
from models.crm_sample import load_sample
from models.opportunities import queue_offers
from models.settings import PROJECT_ROOT, settings

#: The file's name, and the page.
PICTURES = {"overview": "/"}
SIZE = (1440, 1000)
#: A CRM with work for longer than the pictures take.
CUSTOMERS, OPPORTUNITIES = 3_000, 6_000
#: So many opportunities are offered something at once, so often: the mail server takes 8 mails a second, so that most
#: are sent by then, and never all.
OFFERS, EVERY_SECONDS, MAIL_SECONDS = 90, 10.0, 0.6
#: Few slots, so that some jobs run while others wait.
WORKER = {"JOB_QUEUE_CONCURRENCY": "2", "JOB_QUEUE_BATCH_SIZE": "8"}
#: The worker samples each minute, and "the same moment" is a few of them.
SAMPLES = MOMENT_MINUTES + 1
#: The minutes are repeated over two days, so that there is a trend and a period before.
_REPEATED_JOBS = """
INSERT INTO job_metrics
SELECT (jsonb_populate_record(metric, jsonb_build_object('bucket', metric.bucket - hours * interval '1 hour'))).*
FROM job_metrics AS metric, generate_series(1, 50) AS hours
WHERE metric.resolution = 1
    AND ('x' || left(md5(metric.job_type || metric.priority || '/' || hours), 7))::bit(28)::int % 100
        < 55 + 40 * sin(hours * 0.26)
ON CONFLICT DO NOTHING
"""
_REPEATED_SAMPLES = """
INSERT INTO backlog_samples
SELECT (jsonb_populate_record(sample, jsonb_build_object('bucket', sample.bucket - times * interval '30 minutes'))).*
FROM backlog_samples AS sample, generate_series(1, 100) AS times
ON CONFLICT DO NOTHING
"""
#: Between two waves nothing is due for a moment.
_AT_WORK = """() => {
    const tile = name => [...document.querySelectorAll('[data-testid=stMetric]')].find(e => e.innerText.includes(name))
    const value = name => tile(name)?.querySelector('[data-testid=stMetricValue]')?.innerText ?? ''
    return /[1-9]/.test(value('Oldest waiting')) && /[1-9]/.test(value('Running now'))
}"""
#: A repository's page is not to be slow because of its pictures.
MOST_BYTES = 300_000
FOLDER = PROJECT_ROOT / "docs"


def main() -> None:
    """Runs the demo in a folder of its own, then a worker with work for it, and takes the pictures."""
    with surroundings():
        # Imported late: Prefect reads its API's address when it is imported.
        from benchmarks.mails import mail_server

        subprocess.run([sys.executable, "-m", "deployments.cli", "demo"], cwd=PROJECT_ROOT, check=True)
        load_sample(customers=CUSTOMERS, opportunities=OPPORTUNITIES)
        shown = DashboardServer({}, os.environ["PREFECT_API_URL"].removesuffix("/api"))
        with mail_server(MAIL_SECONDS) as mails, _running(shown.child), _worker(shown, mails) as worker, _offers():
            _wait_for_samples(worker)
            with database.transaction() as connection:
                connection.execute(_REPEATED_JOBS)
                connection.execute(_REPEATED_SAMPLES)
            shown.wait()
            FOLDER.mkdir(exist_ok=True)
            with browser() as launched:
                for scheme in ("light", "dark"):
                    _take(launched, shown.url, scheme)


@contextmanager
def _worker(shown: DashboardServer, mails: str) -> Iterator[Child]:
    child = Child(
        "worker",
        [sys.executable, "-m", "deployments.cli", "worker"],
        log=log_folder() / "worker.log",
        environment={**shown.environment, **WORKER, "SMTP_URL": mails},
        folder=PROJECT_ROOT,
    )
    with _running(child):
        yield child


@contextmanager
def _running(child: Child) -> Iterator[None]:
    child.start()
    try:
        yield
    finally:
        child.stop(grace=settings().grace_period + 10)


@contextmanager
def _offers() -> Iterator[None]:
    """Work for the worker, in waves, as long as it is asked for."""
    over = threading.Event()

    def queue() -> None:
        while not over.is_set():
            queue_offers(OFFERS)
            over.wait(EVERY_SECONDS)

    queueing = threading.Thread(target=queue, daemon=True)
    queueing.start()
    try:
        yield
    finally:
        over.set()
        queueing.join()


def _wait_for_samples(worker: Child) -> None:
    """Waits until the worker has sampled as many minutes as a moment is compared with, and says so."""
    wait_until(lambda: job_queue.get_stats().processing > 0, child=worker, timeout=120, what="the worker")
    with database.transaction() as connection:
        row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    print(f"a worker runs; waiting for {SAMPLES} samples of the backlog, one a minute ...", flush=True)

    def sampled() -> bool:
        with database.transaction() as connection:
            found = connection.execute(
                "SELECT count(*) FROM backlog_samples WHERE job_type = '' AND bucket > %s", [row[0]]
            ).fetchone()
        return found is not None and found[0] >= SAMPLES

    wait_until(sampled, child=worker, timeout=60 * (SAMPLES + 1), what="the samples")


def _take(launched: Browser, url: str, scheme: str) -> None:
    width, height = SIZE
    context = launched.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id="Europe/Berlin",
        locale="en-GB",
    )
    page = context.new_page()
    for name, path in PICTURES.items():
        page.goto(url + path)
        settled(page)
        page.wait_for_timeout(2_000)  # charts draw themselves with a short animation
        page.wait_for_function(_AT_WORK, timeout=120_000)
        file = FOLDER / f"{name}-{scheme}.png"
        page.screenshot(path=file)
        size = file.stat().st_size
        assert size <= MOST_BYTES, f"{file} has {size:,} bytes, expected at most {MOST_BYTES:,}"
        print(f"{file.relative_to(PROJECT_ROOT)}: {size:,} bytes")
    context.close()


if __name__ == "__main__":
    main()
