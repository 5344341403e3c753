"""`python -m benchmarks.pictures`: the README's pictures of the dashboard, from the demo's data, in light and dark."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.chromium import browser, settled
from deployments.dashboard_server import DashboardServer
from models import database
from models.settings import PROJECT_ROOT, settings

#: The file's name, and the page.
PICTURES = {"overview": "/"}
SIZE = (1440, 1000)
#: The demo is over in seconds: its minutes are repeated over two days, so that there is a trend and a period before.
_REPEATED = """
INSERT INTO job_metrics
SELECT (jsonb_populate_record(metric, jsonb_build_object('bucket', metric.bucket - hours * interval '1 hour'))).*
FROM job_metrics AS metric, generate_series(1, 50) AS hours
WHERE metric.resolution = 1
    AND ('x' || left(md5(metric.job_type || metric.priority || '/' || hours), 7))::bit(28)::int % 100
        < 55 + 40 * sin(hours * 0.26)
ON CONFLICT DO NOTHING
"""
#: A repository's page is not to be slow because of its pictures.
MOST_BYTES = 300_000
FOLDER = PROJECT_ROOT / "docs"


def main() -> None:
    """Runs the demo in a folder of its own, and takes the pictures."""
    with tempfile.TemporaryDirectory(prefix="dirtfree-pictures-") as folder:
        Path(folder).chmod(0o755)
        os.environ["JOB_QUEUE_DATA_DIR"] = folder
        settings.cache_clear()
        subprocess.run([sys.executable, "-m", "deployments.cli", "demo"], cwd=PROJECT_ROOT, check=True)
        with database.transaction() as connection:
            connection.execute(_REPEATED)
        shown = DashboardServer({}, "http://127.0.0.1:4200")
        shown.child.start()
        try:
            shown.wait()
            FOLDER.mkdir(exist_ok=True)
            with browser() as launched:
                for scheme in ("light", "dark"):
                    _take(launched, shown.url, scheme)
        finally:
            shown.child.stop(grace=5)
            database.dispose()


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
        file = FOLDER / f"{name}-{scheme}.png"
        page.screenshot(path=file)
        size = file.stat().st_size
        assert size <= MOST_BYTES, f"{file} has {size:,} bytes, expected at most {MOST_BYTES:,}"
        print(f"{file.relative_to(PROJECT_ROOT)}: {size:,} bytes")
    context.close()


if __name__ == "__main__":
    main()
