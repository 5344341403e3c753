"""What Prometheus reads: in its own format, adding up, the same from every process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from api_server import TOKENS, VIEWER, client, serving
from prometheus_client.parser import text_string_to_metric_families
from support import held_by, insert, query, value, worker_row

from dashboard.api import create_api, metrics
from models import database as db
from models.counters import Counters
from models.merging import merge_minutes
from models.reading import reading
from models.rollup import RollUp
from models.scrape import scrape

pytestmark = pytest.mark.usefixtures("tokens")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def tokens(database, configure, monkeypatch) -> None:
    configure(**TOKENS)
    # Each test has a database of its own, and what is over is kept.
    monkeypatch.setattr(metrics, "_counters", Counters())


@pytest.fixture
def prometheus(url: str) -> Iterator[httpx.Client]:
    with client(url, VIEWER) as found:
        yield found


def samples(client_: httpx.Client) -> dict[tuple[str, ...], float]:
    """{(name, label values in the order of their names ...): value}"""
    answer = client_.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(text for _, text in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def ended(event: str = "completed", *, ran: float = 0.1, waited: float = 1.0, job_type: str = "note") -> None:
    with db.transaction() as connection:
        roll_up = RollUp("w")
        roll_up.attempt(job_type, 5, event, waited=waited, ran=ran, stages={})
        roll_up.write(connection)


def ended_before(hours: float) -> None:
    """A job that completed that many hours ago, or when the month began."""
    query(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed, run) VALUES (greatest("
        " date_trunc('month', now(), 'UTC'), date_trunc('minute', now() - %s * interval '1 hour', 'UTC')),"
        " 1, 'note', 5, %s, 1, '{\"7\": 1}')",
        hours,
        f"w{hours}",
    )


def test_what_ended_is_counted_by_type_and_status(prometheus: httpx.Client) -> None:
    for event in ("completed", "completed", "failed", "retried"):
        ended(event)
    ended(job_type='strange "name"\n')

    found = samples(prometheus)

    assert found["dirtfree_jobs_total", "note", "completed"] == 2
    assert found["dirtfree_jobs_total", "note", "failed"] == 1
    assert found["dirtfree_jobs_total", 'strange "name"\n', "completed"] == 1
    assert found["dirtfree_job_retries_total", "note"] == 1


def test_the_histograms_add_up(prometheus: httpx.Client) -> None:
    for seconds in (0.0005, 0.1, 0.1, 3.0, 10_000_000.0):
        ended(ran=seconds)

    found = samples(prometheus)

    buckets = {float(key[2]): jobs for key, jobs in found.items() if key[0] == "dirtfree_job_run_seconds_bucket"}
    edges = sorted(buckets)
    assert [buckets[edge] for edge in edges] == sorted(buckets.values())
    assert (buckets[0.001], buckets[0.064], buckets[0.128], buckets[4.096], buckets[float("inf")]) == (1, 1, 3, 4, 5)
    assert found["dirtfree_job_run_seconds_count", "note"] == 5
    assert found["dirtfree_job_run_seconds_sum", "note"] == pytest.approx(10_000_003.2005)


def test_counters_only_grow_while_hours_close_and_are_merged(database: str) -> None:
    counters = Counters()

    def count() -> int:
        with reading() as connection:
            _, found = counters.read(connection)
        # The same as from one that reads all of the month.
        with reading() as connection:
            _, fresh = Counters().read(connection)
        assert found == fresh
        assert found["note"].run.total() == found["note"].events["completed"]
        return found["note"].events["completed"]

    for hours in (100, 60, 59.9, 30, 3, 0.6, 0):
        ended_before(hours)
    assert count() == 7
    assert sum(merge_minutes()) >= 0
    assert count() == 7
    for already in (7, 8, 9):
        ended()
        assert count() == already + 1


def test_they_begin_anew_with_the_month(database: str) -> None:
    ended()
    query("UPDATE job_metrics SET bucket = date_trunc('month', now(), 'UTC') - interval '1 minute'")
    with reading() as connection:
        month, found = Counters().read(connection)
    assert found == {}
    assert month == datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def test_what_waits_and_runs_and_who_works(prometheus: httpx.Client) -> None:
    for _ in range(3):
        insert()
    insert(job_type="other", scheduled_for=datetime.now(UTC) + timedelta(days=1))
    query("UPDATE background_jobs SET scheduled_for = now() - interval '90 seconds' WHERE job_type = 'note'")
    held_by("w1")
    worker_row("w1")
    worker_row("w2", waiting=True)
    worker_row("w3", beat_age=60)
    query("INSERT INTO job_types (job_type, paused, held_until) VALUES ('note', true, now() + interval '1 minute')")
    query(
        "INSERT INTO services (service, breaker, open_until) VALUES ('smtp', 'open', now() + interval '1 minute'),"
        " ('crm', 'open', now() - interval '1 second')"
    )

    found = samples(prometheus)

    assert (found["dirtfree_jobs_pending", "note"], found["dirtfree_jobs_pending", "other"]) == (3, 1)
    assert found["dirtfree_queue_length",] == 4
    assert found["dirtfree_jobs_processing", "note"] == 1
    assert 90 <= found["dirtfree_oldest_pending_seconds",] < 900
    assert {state: found["dirtfree_workers", state] for state in ("working", "idle", "stopping", "silent")} == {
        "working": 1, "idle": 1, "stopping": 0, "silent": 1,
    }  # fmt: skip
    assert (found["dirtfree_job_type_paused", "note"], found["dirtfree_job_type_held", "note"]) == (1, 1)
    assert [found["dirtfree_breaker", "smtp", state] for state in ("closed", "half-open", "open")] == [0, 0, 1]
    assert [found["dirtfree_breaker", "crm", state] for state in ("closed", "half-open", "open")] == [0, 1, 0]


def test_an_empty_queue_is_no_trouble(prometheus: httpx.Client) -> None:
    found = samples(prometheus)
    assert found["dirtfree_oldest_pending_seconds",] == 0
    assert found["dirtfree_workers", "working"] == 0


def test_another_process_says_the_same(prometheus: httpx.Client) -> None:
    ended()
    with serving(create_api()) as other, httpx.Client(headers=prometheus.headers, timeout=30) as asking:
        assert asking.get(f"{other}/metrics").text.count("dirtfree_jobs_total{") == 3
        names = [line for line in asking.get(f"{other}/metrics").text.splitlines() if "jobs_total{" in line]
        assert all(line in prometheus.get("/metrics").text for line in names)


def test_openmetrics_is_given_where_it_is_asked_for(prometheus: httpx.Client) -> None:
    ended()
    answer = prometheus.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert "dirtfree_jobs_created{" in answer.text


def test_names_that_plain_sql_made_up_are_bounded() -> None:
    query("INSERT INTO background_jobs (job_type) SELECT 'type_' || n FROM generate_series(1, 300) AS n")
    found = scrape(Counters())
    assert len(found.pending) == 200
    assert value("SELECT count(DISTINCT job_type) FROM background_jobs") == 300
