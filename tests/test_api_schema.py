"""The API keeps to its own description, whatever is sent: Schemathesis against the running server.

A few hundred requests; with SLOW_TESTS=1 ten thousand and more.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import CRON, OPERATOR, TOKENS, VIEWER, client, serving
from support import insert, job_type, known, query

from models import registry

SLOW = os.environ.get("SLOW_TESTS") == "1"
#: Requests for each endpoint and phase; how many it makes of it depends on what there is to vary.
EXAMPLES = 900 if SLOW else 15
LEAST = 10_000 if SLOW else 300

CONFIG = f"""
[auth.openapi.actToken]
bearer = "{OPERATOR}"
[auth.openapi.lookToken]
bearer = "{VIEWER}"
[auth.openapi.cronSecret]
bearer = "{CRON}"

# All checks, but for two: that a type is unknown, or a cursor nobody's, no schema can say; and in a query all is text,
# also what was meant to be a wrong true.
[checks]
positive_data_acceptance.enabled = false

[[operations]]
include-method = "GET"
checks.negative_data_rejection.enabled = false
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture
def url(database: str, configure) -> Iterator[str]:
    configure(**TOKENS)
    note = job_type()
    with known(note), serving() as found:
        registry.declare({"note": note})
        for status in ("pending", "processing", "completed", "failed", "cancelled"):
            for _ in range(5):
                insert(status=status, error_message="h\u00e4 \u0001 <b>")
        query("UPDATE background_jobs SET completed_at = now() WHERE status IN ('completed', 'failed')")
        yield found


@pytest.mark.timeout(3600 if SLOW else 900)
def test_no_request_gets_a_500_or_an_answer_that_is_not_described(url: str, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{url}/api/openapi.json",
            "--max-examples", str(EXAMPLES), "--continue-on-failure",
            # The same requests each time, but for the long run; the first to add a job waits for Prefect's import.
            *([] if SLOW else ["--seed", "20260124"]), "--request-timeout", "60", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    made = re.search(r"Test cases:\s+([\d,]+) generated", run.stdout)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert made is not None and int(made[1].replace(",", "")) >= LEAST
    print(run.stdout)
    with client(url) as operator:
        assert operator.get("/readyz").status_code == 200
