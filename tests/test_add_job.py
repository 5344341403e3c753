"""Adding jobs: what is stored, when, in whose transaction, and where it is checked."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel, Field, computed_field
from sqlalchemy.ext.asyncio import AsyncSession
from support import Note, job, job_type, known, query, value

from models import InvalidJobError, job_queue, registry
from models import database as databases
from tasks import Payload


class Visit(Payload):
    customer_id: str
    opportunity_id: str | None = Field(None, alias="opportunity")


class Invoice(Payload):
    visit: Visit
    amounts: dict[str, list[Visit]] = {}


@pytest.fixture(autouse=True)
def types(database: str) -> Iterator[None]:
    with known(job_type(), job_type("invoice", payload=Invoice, max_retries=7)):
        yield


def _stored() -> int:
    return int(value("SELECT count(*) FROM background_jobs"))


def test_a_job_is_stored_as_it_was_given() -> None:
    due = datetime(2031, 5, 17, 8, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))

    job_id = job_queue.add_job(
        type="note", payload={"text": "ü'\\u0000 😀"}, priority=9, max_retries=2, scheduled_for=due, unique_key="k"
    )

    stored = job(job_id)
    assert stored["payload"] == {"text": "ü'\\u0000 😀"}
    assert (stored["job_type"], stored["priority"], stored["max_retries"]) == ("note", 9, 2)
    assert (stored["scheduled_for"], stored["unique_key"], stored["status"]) == (due, "k", "pending")


def test_what_is_not_given_has_the_guides_defaults_and_the_databases_time() -> None:
    before = value("SELECT clock_timestamp()")
    stored = job(job_queue.add_job(type="note"))
    after = value("SELECT clock_timestamp()")

    assert (stored["payload"], stored["priority"], stored["max_retries"]) == ({}, 5, 3)
    assert before <= stored["scheduled_for"] <= after
    assert stored["scheduled_for"] == stored["created_at"]


def test_the_types_own_retries_count_where_the_job_says_nothing() -> None:
    job_id = job_queue.add_job(type="invoice", payload={"visit": {"customer_id": "c"}})

    assert job(job_id)["max_retries"] == 7


def test_a_payload_may_be_the_model_itself() -> None:
    class Sum(BaseModel):
        parts: list[int]

        @computed_field  # type: ignore[prop-decorator]
        @property
        def total(self) -> int:
            return sum(self.parts)

    with known(job_type("sum", payload=Sum)):
        job_id = job_queue.add_job(type="sum", payload=Sum(parts=[1, 2]))

    assert job(job_id)["payload"] == {"parts": [1, 2]}
    assert job(job_queue.add_job(type="note", payload=Note(text="x")))["payload"] == {"text": "x", "copies": 1}


def test_a_type_may_be_named_by_an_enum() -> None:
    class Kind(StrEnum):
        NOTE = "note"

    ids = job_queue.add_batch([{"type": Kind.NOTE}, {"type": Kind.NOTE}])

    assert [job(job_id)["job_type"] for job_id in [*ids, job_queue.add_job(type=Kind.NOTE)]] == ["note"] * 3


@pytest.mark.parametrize("keyed", [False, True], ids=["by COPY", "by INSERT"])
def test_a_batch_returns_its_ids_in_order(keyed: bool) -> None:
    jobs: list[dict[str, Any]] = [{"type": "note", "payload": {"copies": n}} for n in range(500)]
    for number, added in enumerate(jobs):
        if keyed and number % 3:
            added["unique_key"] = f"key-{1000 - number}"
        if number % 7 == 0:
            added["scheduled_for"] = datetime.now(UTC) + timedelta(days=1)

    ids = job_queue.add_batch(jobs)

    assert ids == sorted(ids)
    rows = dict(query("SELECT id, (payload->>'copies')::int FROM background_jobs"))
    assert [rows[job_id] for job_id in ids] == list(range(500))
    assert value("SELECT count(*) FROM background_jobs WHERE scheduled_for > now()") == 72
    assert value("SELECT count(DISTINCT scheduled_for) FROM background_jobs WHERE scheduled_for <= now()") == 1


def test_many_jobs_are_copied_in_one_statement_and_wake_workers_once(database: str) -> None:
    query("CREATE TABLE statements (rows int)")
    query(
        "CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO statements SELECT count(*) FROM added; RETURN NULL; END $$"
    )
    query(
        "CREATE TRIGGER counting AFTER INSERT ON background_jobs REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION count_statement()"
    )
    try:
        job_queue.add_batch([{"type": "note"}] * 2_000)
        job_queue.add_batch([{"type": "note", "unique_key": f"key-{n}"} for n in range(300)])

        assert query("SELECT rows FROM statements") == [(2_000,), (300,)]
    finally:
        query("DROP TRIGGER counting ON background_jobs")
        query("DROP FUNCTION count_statement")
        query("DROP TABLE statements")


def test_nothing_to_add_is_nothing_added() -> None:
    assert job_queue.add_batch([]) == []
    assert job_queue.add_batch(iter(())) == []


def test_one_bad_job_in_a_batch_leaves_all_out() -> None:
    with pytest.raises(InvalidJobError, match=r"^job 2: priority: expected .* 1 to 10, got 11$"):
        job_queue.add_batch([{"type": "note"}, {"type": "note"}, {"type": "note", "priority": 11}])

    assert _stored() == 0


def test_with_a_session_jobs_commit_with_the_callers_data() -> None:
    with databases.session() as session:
        one = job_queue.add_job(type="note", session=session)
        several = job_queue.add_batch([{"type": "note"}, {"type": "note", "unique_key": "k"}], session=session)
        assert _stored() == 0
        session.commit()

    assert {row[0] for row in query("SELECT id FROM background_jobs")} == {one, *several}


def test_with_a_session_jobs_roll_back_with_the_callers_data() -> None:
    with databases.session() as session:
        job_queue.add_job(type="note", session=session)
        job_queue.add_batch([{"type": "note"}] * 3, session=session)
        session.rollback()

    assert _stored() == 0


def test_a_refused_job_does_no_harm_to_the_callers_session() -> None:
    with databases.session() as session:
        job_queue.add_job(type="note", session=session)
        with pytest.raises(InvalidJobError):
            job_queue.add_job(type="note", priority=0, session=session)
        session.commit()

    assert _stored() == 1


@pytest.mark.parametrize("commits", [True, False])
def test_an_async_session_carries_jobs_too(commits: bool) -> None:
    async def add() -> str:
        async with AsyncSession(databases.async_engine()) as session:
            job_id = await session.run_sync(
                lambda sync: job_queue.add_job(type="note", unique_key="k", session=sync)  # type: ignore[arg-type]
            )
            await (session.commit() if commits else session.rollback())
        await databases.async_engine().dispose()
        return str(job_id)

    job_id = asyncio.run(add())

    assert [row[0] for row in query("SELECT id FROM background_jobs")] == ([job_id] if commits else [])


def test_sessions_that_hold_the_whole_pool_can_still_add_jobs_of_a_type_known_elsewhere() -> None:
    query("INSERT INTO job_types (job_type) VALUES ('elsewhere')")
    sessions = [databases.session() for _ in range(3)]
    try:
        for session in sessions:
            session.connection()
        for session in sessions:
            job_queue.add_job(type="elsewhere", session=session)
            session.commit()
    finally:
        for session in sessions:
            session.close()

    assert _stored() == 3


BOTH_DOORS = [
    ({"visit": {"customer_id": "c"}}, None),
    ({"visit": {"customerId": "c", "opportunity": "o"}}, None),
    ({"visit": {"customerId": "c", "opportunity_id": "o"}}, None),
    ({"visit": {"customerId": "c"}, "amounts": {"anyKey": [{"customerId": "c"}, {"customer_id": "d"}]}}, None),
    ({"visit": {}}, "customer"),
    ({"visit": {"customerId": "c", "customer_id": "c"}}, "customer"),
    ({"visit": {"customer_ID": "c"}}, "customer"),
    ({"visit": {"customerId": 3}}, "string"),
    ({"visit": {"customerId": "c"}, "amounts": {"a": [{"customerID": "c"}]}}, "customer"),
    ({"Visit": {"customerId": "c"}}, "visit"),
]


@pytest.mark.parametrize(("payload", "problem"), BOTH_DOORS)
def test_the_code_and_the_declared_schema_let_the_same_payloads_in(
    payload: dict[str, Any], problem: str | None
) -> None:
    registry.declare({"far_invoice": job_type("far_invoice", payload=Invoice)})

    for name in ("invoice", "far_invoice"):
        if problem is None:
            assert job(job_queue.add_job(type=name, payload=payload))["payload"] == payload
        else:
            with pytest.raises(InvalidJobError, match=f"payload does not fit {name}: (?s:.*){problem}"):
                job_queue.add_job(type=name, payload=payload)


def test_a_process_without_processors_checks_by_the_declared_schema_and_never_imports_prefect() -> None:
    registry.declare({"far_invoice": job_type("far_invoice", payload=Invoice, max_retries=6)})
    code = """
import json, sys
from models import InvalidJobError, job_queue
ids = job_queue.add_batch([{"type": "far_invoice", "payload": {"visit": {"customerId": "c"}}}] * 2)
refusals = []
for wrong in ({"visit": 3}, {"visit": {"customer_id": "c"}, "more": 1}, {}):
    try:
        job_queue.add_job(type="far_invoice", payload=wrong)
    except InvalidJobError as error:
        refusals.append(str(error))
print(json.dumps([ids, refusals, [name for name in ("prefect", "tasks", "flows") if name in sys.modules]]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    ids, refusals, imported = json.loads(run.stdout)
    assert imported == []
    assert [job(job_id)["max_retries"] for job_id in ids] == [6, 6]
    assert [refusal.startswith("payload does not fit far_invoice: ") for refusal in refusals] == [True] * 3
    assert _stored() == 2


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidJobError, match=r"^type: expected one of .*note.*, got 'send_pigeon'$"):
        job_queue.add_job(type="send_pigeon")


def test_plain_sql_needs_nothing_but_the_type(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, 5)")

    assert value("SELECT count(DISTINCT id) FROM background_jobs WHERE scheduled_for <= now()") == 5
