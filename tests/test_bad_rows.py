"""Rows written by plain SQL: what the table takes either runs or fails for good, and does no harm to its neighbours."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import claim_all, claimer, insert, job, job_type, known, query, value, worker_row

from flows.worker import Worker
from models import database as databases
from models import lookup
from models.door import PAYLOAD_LIMIT_BYTES
from models.rescue import rescue_lost_jobs
from tasks import PermanentError
from tasks.batch import Batch


def _refuse(payload: Any) -> None:
    raise PermanentError("not today")


NOTE = job_type()
REFUSED = job_type("refused", run=_refuse)
INT_MAX = 2**31 - 1

# What the table's own types take, and more.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.sampled_from(["0", "-1", "1e400", "1e-400", "1e100000", "9" * 5_000, "0.1" + "0" * 400, "-0.0"])
leaves = text.map(json.dumps) | numbers | st.sampled_from(["null", "true", '"\\u0000"', '"\\ud800"', "nan", "", "{"])
json_texts = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
    | st.dictionaries(text.map(json.dumps) | st.sampled_from(['"text"', '"copies"']), inner, max_size=3).map(
        lambda parts: "{" + ",".join(f"{key}:{part}" for key, part in parts.items()) + "}"
    ),
    max_leaves=5,
)
payloads = st.one_of(
    json_texts,
    json_texts.map('{{"text": {}}}'.format),
    st.sampled_from(['{"text": "fine"}', "{}", '{"copies": 2}']),
    st.sampled_from([150, 198, 200, 202, 1_000, 3_000, 100_000]).map(lambda depth: "[" * depth + "]" * depth),
    # One in five of one in five: each of these is a megabyte.
    st.sampled_from(["{}", "[]", "1", "2", json.dumps({"text": "x" * PAYLOAD_LIMIT_BYTES})]),
)
times = st.sampled_from(["now", "infinity", "-infinity", "epoch", "0044-03-15 BC", "9998-12-31", "294276-01-01"])
odd_ids = st.sampled_from(["x" * 255, "x" * 256, "x" * 9_000, "a\x00b", "ü" * 127, "\\", "'; DROP TABLE workers; --"])
columns = {
    "job_type": st.just("refused") | text,
    "id": text | odd_ids,
    "payload": payloads,
    "priority": st.integers(-1, 12) | st.sampled_from([INT_MAX, -INT_MAX, 2**40]),
    "retry_count": st.integers(-1, 5) | st.sampled_from([1_000, 1_001, INT_MAX]),
    "max_retries": st.integers(-1, 5) | st.sampled_from([1_000, 1_001, INT_MAX]),
    "lost_count": st.integers(-3, 6) | st.sampled_from([32_767, -32_768]),
    "scheduled_for": times,
    "created_at": times,
    "started_at": times,
    "completed_at": times,
    "status": st.sampled_from(["pending", "completed", "failed", "cancelled", "done", ""]),
    "unique_key": text | st.just("same") | st.text("0123456789abcdef", min_size=3_000, max_size=3_000),
    "worker_id": text,
    "error_message": text,
}
rows = st.lists(st.sampled_from([*columns, "payload"]), max_size=3).flatmap(
    lambda odd: st.fixed_dictionaries({"job_type": st.just("note")} | {name: columns[name] for name in odd})
)


@pytest.fixture(autouse=True)
def types(database: str) -> Iterator[None]:
    with known(NOTE, REFUSED):
        yield


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(["note", "refused"])
    worker.start()
    yield worker
    worker.stop(grace=5)


def _run_all_that_is_due(worker: Worker) -> int:
    """Runs batch after batch, as a shift does but without Prefect, until nothing is due; how many jobs that were."""
    jobs = 0
    while isinstance(batch := worker.claim(None), Batch):
        jobs += batch.size
        batch.run()
        worker.ended(batch)
    return jobs


def test_2500_odd_rows_are_refused_by_the_table_or_run_or_fail_for_good(worker: Worker) -> None:
    with databases.connect() as connection:

        @settings(max_examples=2_500, database=None)
        @given(rows)
        def is_stored_or_refused(row: dict[str, Any]) -> None:
            sql = f"INSERT INTO background_jobs ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
            try:
                connection.execute(sql, list(row.values()))  # type: ignore[arg-type]
            except (psycopg.DataError, psycopg.IntegrityError, psycopg.OperationalError) as refusal:
                assert str(refusal)
                assert not connection.closed

        is_stored_or_refused()
    neighbours = [insert(payload='{"text": "good"}', priority=priority) for priority in range(1, 11)]
    due = value(
        "SELECT count(*) FROM background_jobs"
        " WHERE status = 'pending' AND scheduled_for <= now() AND job_type IN ('note', 'refused')"
    )
    assert due > 500, "the generator has become too wild to be of use"

    assert _run_all_that_is_due(worker) >= due

    assert {job(neighbour)["status"] for neighbour in neighbours} == {"completed"}
    ended = query(
        "SELECT status, job_type, error_message FROM background_jobs WHERE worker_id = %s OR"
        " (job_type IN ('note', 'refused') AND scheduled_for <= now() AND status IN ('pending', 'processing'))",
        worker.worker_id,
    )
    assert [row for row in ended if row[0] not in ("completed", "failed")] == []
    assert [row for row in ended if row[0] == "failed" and not row[2]] == []
    assert [row for row in ended if row[:2] == ("completed", "refused")] == []
    # The views live on too.
    assert len(lookup.newest_jobs(limit=1000)) == min(1000, value("SELECT count(*) FROM background_jobs"))


POISON = {
    "a scalar": ("3", "payload does not fit note: payload: Input should be an object"),
    "null": ("null", "payload does not fit note: payload: Input should be an object"),
    "too deep": ("[" * 1_000 + "]" * 1_000, "recursion limit exceeded"),
    "too many digits": ('{"copies": 1e100000}', "payload does not fit note"),
    "too large": (json.dumps({"text": "x" * PAYLOAD_LIMIT_BYTES}), "expected at most 1,048,576 bytes of JSON"),
    "unknown field": ('{"text": "a", "colour": "red"}', "colour: Extra inputs are not permitted, got 'red'"),
}


@pytest.mark.parametrize("poison", POISON)
def test_a_poisonous_payload_fails_for_good_at_once_and_its_neighbours_complete(worker: Worker, poison: str) -> None:
    payload, expected = POISON[poison]
    good = [insert(payload='{"text": "good"}') for _ in range(3)]
    bad = insert(payload=payload, max_retries=9)
    good += [insert(payload='{"text": "good"}') for _ in range(3)]

    assert _run_all_that_is_due(worker) == 7

    found = lookup.find_job(bad)
    assert found is not None
    assert (found.status, found.retry_count) == ("failed", 0)
    assert expected in str(found.error_message)
    assert json.dumps(found.payload), "it can be shown"
    assert [failure.error_class for failure in lookup.failures_of(bad)] == [
        "PayloadTooLargeError" if poison == "too large" else "InvalidJobError"
    ]
    assert {job(neighbour)["status"] for neighbour in good} == {"completed"}


def test_rows_with_counts_at_the_end_of_their_range_can_be_rescued(caplog: pytest.LogCaptureFixture) -> None:
    worker_row("dead", beat_age=60)
    held = {"status": "processing", "worker_id": "dead", "started_at": "now"}
    odd = insert(retry_count=1_000, max_retries=0, lost_count=32_767, **held)
    other = insert(lost_count=-32_768, **held)

    with databases.connect() as connection, caplog.at_level(logging.WARNING):
        assert rescue_lost_jobs(connection) == 2

    assert (job(odd)["status"], job(other)["status"]) == ("failed", "pending")


def test_odd_jobs_can_be_claimed_beside_each_other() -> None:
    ids = {insert(id=odd) for odd in ("x" * 255, "\\", "'%s {0}", "\n", "ü😀")}

    assert {claimed.id for claim in claim_all(claimer()) for claimed in claim.jobs} == ids
