"""The backlog's past: who samples it, when, what becomes of the samples, and what is read of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg
import pytest
from support import at_once, held_by, insert, query, value

from flows.shifts import Shifts
from models import backlog_samples, job_queue, lease, registry
from models import database as database_module
from models.backlog_samples import Sampler, backlog_at, backlog_series
from models.filters import JobFilter, Period
from models.merging import merge_minutes
from models.metrics import database_now
from models.sql import statement
from tests.running import Rows, until

pytestmark = pytest.mark.usefixtures("database")

NOTE, OTHER = JobFilter(job_types=("note",)), JobFilter(job_types=("other",))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample has its time also where the machine stands still for a second; left out, it is tried a minute later."""
    monkeypatch.setattr(backlog_samples, "SAMPLE_SECONDS", 60.0)


def look(sampler: Sampler | None = None) -> None:
    with database_module.connect() as connection:
        (sampler or Sampler()).look(connection)


def sampled(columns: str = "job_type, due, scheduled, running") -> list[tuple[Any, ...]]:
    return query(f"SELECT {columns} FROM backlog_samples ORDER BY job_type, bucket")


def wait(jobs: int, seconds: float, job_type: str = "note", priority: int = 5) -> None:
    query(
        "INSERT INTO background_jobs (job_type, priority, scheduled_for)"
        " SELECT %s, %s, now() - %s * interval '1 second' FROM generate_series(1, %s)",
        job_type, priority, seconds, jobs,
    )  # fmt: skip


def sample(now: datetime, minutes_ago: float, job_type: str = "", **columns: Any) -> None:
    """A sample of a minute before `now`, the same for all that belong together; `oldest` in seconds."""
    oldest = columns.pop("oldest", 0.0)
    columns = {"oldest_seconds": oldest, "oldest_most": oldest, "resolution": 1, **columns}
    query(
        f"INSERT INTO backlog_samples (job_type, bucket, {', '.join(columns)}) VALUES (%s,"
        f" date_trunc('minute', %s - %s * interval '1 minute'){', %s' * len(columns)})",
        job_type, now, minutes_ago, *columns.values(),
    )  # fmt: skip


def test_a_sample_has_the_whole_queue_and_each_type_that_has_jobs() -> None:
    wait(3, 100.0)
    wait(2, 300.0, priority=9)
    wait(4, -60.0)
    wait(1, -60.0, job_type="other")
    for _ in range(2):
        held_by("worker-1", job_type="busy")

    look()

    assert sampled() == [("", 5, 5, 2), ("busy", 0, 0, 2), ("note", 5, 4, 0), ("other", 0, 1, 0)]
    oldest = dict(sampled("job_type, oldest_seconds"))
    assert oldest == dict(sampled("job_type, oldest_most"))
    assert oldest[""] == oldest["note"] == pytest.approx(300, abs=60) and oldest["note"] >= 300
    assert (oldest["busy"], oldest["other"]) == (0, 0)
    assert set(sampled("resolution, samples, capped, bucket = date_trunc('minute', bucket)")) == {(1, 1, False, True)}


def test_an_idle_queue_is_sampled_too() -> None:
    look()

    assert sampled() == [("", 0, 0, 0)]


def test_a_minute_is_sampled_once_however_many_workers_look() -> None:
    wait(3, 1.0)
    minute = value("SELECT date_trunc('minute', clock_timestamp())")

    at_once(8, lambda number: look())
    wait(2, 1.0, job_type="other")
    look()

    first = [row for row in sampled("job_type, due, bucket") if row[2] == minute]
    if value("SELECT date_trunc('minute', clock_timestamp())") == minute:
        assert [row[:2] for row in first] == [("", 3), ("note", 3)]
    assert query("SELECT FROM backlog_samples GROUP BY bucket, job_type HAVING count(*) > 1") == []


def test_who_comes_while_another_takes_the_sample_waits_for_it_and_adds_nothing() -> None:
    # Whatever the second one sees that the first one did not: a minute is one worker's.
    asked = {"whole": backlog_samples.WHOLE_COUNTED, "lanes": backlog_samples.LANES_COUNTED}
    with database_module.connect() as first, database_module.connect() as second:
        with first.transaction():
            first.execute(statement("sample_backlog"), asked)
            (minute,) = first.execute("SELECT date_trunc('minute', now())").fetchone() or (None,)
            wait(2, 1.0, job_type="other")
            second.execute("SET lock_timeout = '100ms'")
            try:
                second.execute(statement("sample_backlog"), asked)
            except psycopg.errors.LockNotAvailable:
                pass
            else:
                assert value("SELECT date_trunc('minute', clock_timestamp())") > minute, "it did not wait"
        second.execute("SET lock_timeout = 0")
        second.execute(statement("sample_backlog"), asked)

    assert query("SELECT job_type FROM backlog_samples WHERE bucket <= %s", minute) == [("",)]


def test_the_rest_of_the_minute_costs_a_probe_and_no_count() -> None:
    wait(2000, 1.0)
    asked = {"whole": backlog_samples.WHOLE_COUNTED, "lanes": backlog_samples.LANES_COUNTED}
    explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement('sample_backlog')}".encode()
    with database_module.transaction() as connection:  # one now() for both
        connection.execute(statement("along_the_indexes"))
        connection.execute(statement("sample_backlog"), asked)
        row = connection.execute(explain, asked).fetchone()

    assert row is not None
    assert _scanned(row[0][0]["Plan"]) == 0


def _scanned(node: dict[str, Any]) -> float:
    """Rows of the queue that were looked at."""
    own = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "background_jobs" else 0
    return float(own) + sum(_scanned(child) for child in node.get("Plans", []))


def test_counts_stop_at_their_bounds_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_samples, "WHOLE_COUNTED", 20)
    monkeypatch.setattr(backlog_samples, "LANES_COUNTED", 20)
    wait(30, 1.0)
    wait(3, 1.0, job_type="other")

    look()

    assert sampled("job_type, due, capped") == [("", 20, True), ("note", 10, True), ("other", 3, False)]


def test_a_job_type_without_a_name_is_counted_in_the_whole() -> None:
    insert(job_type="")
    insert()

    look()

    assert sampled("job_type, due") == [("", 2), ("note", 1)]


def test_a_sample_that_takes_too_long_is_left_out_and_the_lease_lives_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backlog_samples, "SAMPLE_SECONDS", 0.1)
    sampler = Sampler()
    with database_module.connect() as busy, database_module.connect() as connection:
        with busy.transaction():
            busy.execute("LOCK TABLE backlog_samples")
            sampler.look(connection)
            sampler.look(connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)

    assert [record.message for record in caplog.records if record.name == backlog_samples.logger.name] == [
        "a sample of the backlog took longer than 0.1 s and is left out"
    ], "and it is not tried again at once"
    assert sampled() == []


def test_workers_sample_what_waits_and_what_they_run_one_row_a_minute(
    samples: Rows, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    running = job_queue.add_job(type="effect", payload={"seconds": 600})
    job_queue.add_job(type="effect", scheduled_for=datetime(2100, 1, 1, tzinfo=UTC))
    workers = [Shifts(["effect"]), Shifts(["effect"])]
    try:
        for each in workers:
            each.start()
        until(lambda: samples.job(running)["status"] == "processing", what="the job's start")
        query("TRUNCATE backlog_samples")
        until(lambda: sampled(), what="a sample")
        for each in workers:
            seen = _beat_at(each)
            until(lambda each=each, seen=seen: _beat_at(each) > seen, what="another look by each")
        rows = sampled("bucket, job_type, due, scheduled, running")
    finally:
        for each in workers:
            each.stop(grace=0)

    assert {row[1:] for row in rows} == {("", 0, 1, 1), ("effect", 0, 1, 1)}
    assert len(rows) == 2 * len({row[0] for row in rows})


def _beat_at(worker: Shifts) -> Any:
    return value("SELECT beat_at FROM workers WHERE worker_id = %s", worker.worker.worker_id)


def test_minutes_older_than_two_days_become_hours_whose_means_and_worst_stay() -> None:
    now = database_now()
    hour = now.minute + 50 * 60  # minutes to the beginning of an hour of the past
    for place, (due, running, oldest) in enumerate([(10, 2, 5.0), (20, 4, 700.0), (0, 0, 0.0)]):
        sample(now, hour - place, due=due, scheduled=1, running=running, oldest=oldest)
    sample(now, hour, "note", due=10, running=2, oldest=5.0)
    sample(now, hour - 1, "note", due=2, capped=True)
    sample(now, 90, due=7)

    period = Period.last(60, now)
    before = _told(backlog_series(period)), _told(backlog_series(period, NOTE))
    assert sum(merge_minutes()) == 5
    assert sum(merge_minutes()) == 0

    assert (_told(backlog_series(period)), _told(backlog_series(period, NOTE))) == before
    assert before == ([(10.0, 2.0, 700.0, False), (7.0, 0.0, 0.0, False)], [(4.0, 2 / 3, 5.0, True), (0, 0, 0, False)])
    assert sampled("job_type, resolution, samples, due") == [("", 60, 3, 30), ("", 1, 1, 7), ("note", 60, 2, 12)]

    sample(now, hour - 30, due=50)  # one that came late is added
    assert sum(merge_minutes()) == 1
    assert sampled("samples, due")[0] == (4, 80)


def _told(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    known = frame[frame["due"].notna()]
    return list(known[["due", "running", "oldest_most", "capped"]].itertuples(index=False, name=None))


def test_hours_are_kept_for_thirteen_months() -> None:
    now = database_now()
    for days in (430, 360):
        sample(now, days * 1440, resolution=60)
    sample(now, 50 * 60, due=1)
    job_type = registry.load()["cleanup_old_data"]

    result = job_type.run(job_type.payload.model_validate({}))

    assert isinstance(result, dict)
    assert (result["deleted"]["backlog_samples"], result["minutes_merged"]) == (1, 1)
    assert [row[0] for row in sampled("resolution")] == [60, 60]


def test_a_step_without_samples_is_a_gap_and_one_without_jobs_a_zero() -> None:
    now = database_now()
    sample(now, 50, due=4, running=1, oldest=30.0)
    sample(now, 49, due=2)
    sample(now, 20)

    frame = backlog_series(Period.last(1, now))

    assert len(frame) == 60 and frame.attrs["step_seconds"] == 60
    assert _told(frame) == [(4, 1, 30, False), (2, 0, 0, False), (0, 0, 0, False)]
    # Of a type: sampled, and there were none.
    assert _told(backlog_series(Period.last(1, now), OTHER)) == [(0, 0, 0, False)] * 3
    assert not frame["capped"].any()


def test_a_step_of_several_minutes_is_the_mean_of_those_that_were_sampled() -> None:
    now = database_now()
    begin = now.minute + 60
    sample(now, begin, due=10, oldest=60.0)
    sample(now, begin - 1, due=20, oldest=10.0, capped=True)
    sample(now, begin - 1, "note", due=20)
    sample(now, begin - 1, "other", due=6)

    period = Period.last(24, now)

    assert _told(backlog_series(period, buckets=24)) == [(15.0, 0.0, 60.0, True)]
    both = JobFilter(job_types=("note", "other"))
    assert _told(backlog_series(period, both, buckets=24)) == [(13.0, 0.0, 0.0, False)]


def test_a_moment_is_the_mean_of_its_five_minutes_or_of_its_hour_two_days_ago() -> None:
    now = database_now()
    day, week = now - timedelta(days=1), now - timedelta(days=7)
    for minutes, due in ((1, 10), (3, 20), (30, 999)):
        sample(now, 1440 + minutes, due=due, scheduled=2, running=1, oldest=4.0)
    sample(now, 1440 + 1, "note", due=10)
    sample(now, 7 * 1440 + now.minute, due=600, samples=60, oldest=120.0, resolution=60)

    found = backlog_at(day)

    assert found is not None
    assert (found.due, found.scheduled, found.running, found.oldest_seconds) == (15.0, 2.0, 1.0, 4.0)
    of_note, of_other, then = backlog_at(day, NOTE), backlog_at(day, OTHER), backlog_at(week)
    assert of_note is not None and of_other is not None and then is not None
    assert (of_note.due, of_other.due, then.due, then.oldest_seconds) == (5.0, 0.0, 10.0, 2.0)


def test_a_moment_without_samples_or_by_priority_is_not_known() -> None:
    now = database_now()
    sample(now, 60 * 24 + 20, due=3)
    sample(now, 62, due=3)

    assert backlog_at(now - timedelta(days=1)) is None
    assert backlog_at(now - timedelta(days=9)) is None
    assert backlog_at(now - timedelta(hours=1)) is not None
    assert backlog_at(now - timedelta(hours=1), JobFilter(priorities=(5,))) is None
