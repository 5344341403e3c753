"""The guide's figure: with a fifth of all attempts failing, 99 % of the jobs complete all the same."""

from __future__ import annotations

import pytest

from flows.process_jobs import process_jobs
from models import job_queue
from tests.running import Rows

JOBS = 1_500


@pytest.mark.usefixtures("prefect_api")
def test_with_a_fifth_of_all_attempts_failing_99_percent_of_the_jobs_complete(samples: Rows) -> None:
    # Three retries are the guide's own; a job then fails for good once in 0.2 ** 4, 16 times in 10,000.
    job_queue.add_batch({"type": "flaky", "max_retries": 3} for _ in range(JOBS))
    summary = process_jobs(drain=True)
    attempts = summary.completed + summary.retried + summary.failed
    assert 0.15 < (summary.retried + summary.failed) / attempts < 0.25
    assert samples.count("completed") + samples.count("failed") == JOBS
    assert samples.count("completed") >= 0.99 * JOBS
    assert summary.retried == sum(row["retry_count"] for row in samples.all("SELECT retry_count FROM background_jobs"))
    failed = samples.all("SELECT retry_count, error_message FROM background_jobs WHERE status = 'failed'")
    assert all(row["retry_count"] == 3 and "did not get through" in row["error_message"] for row in failed)
