"""Unique keys: among pending and processing jobs there is at most one with a key, whoever adds it when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support import at_once, claimer, finish, job, job_type, known, query, value

from models import database as databases
from models import job_queue
from models.claims import Claim
from models.outcomes import Ending


@pytest.fixture(autouse=True)
def note(database: str) -> Iterator[None]:
    with known(job_type()):
        yield


@pytest.fixture
def wide_pool(configure: Callable[..., None]) -> Iterator[None]:
    """Eight connections, so that eight threads meet in the database and not before."""
    configure(JOB_QUEUE_CONCURRENCY=8)
    databases.dispose()
    yield
    databases.dispose()


def _claim() -> Claim:
    claimed = claimer().claim()
    assert isinstance(claimed, Claim)
    return claimed


def _add(key: str = "key") -> str:
    return job_queue.add_job(type="note", unique_key=key)


def test_adding_a_key_again_returns_the_job_that_has_it() -> None:
    first = _add()

    assert _add() == first
    assert job_queue.add_batch([{"type": "note", "unique_key": "key"}, {"type": "note"}])[0] == first
    with databases.session() as session:
        assert job_queue.add_job(type="note", unique_key="key", session=session) == first
    assert value("SELECT count(*) FROM background_jobs WHERE unique_key = 'key'") == 1


def test_a_key_twice_in_one_batch_is_one_job() -> None:
    keys = ["a", None, "b", "a", "b", "a", None]

    ids = job_queue.add_batch([{"type": "note", "unique_key": key} for key in keys])

    assert ids[0] == ids[3] == ids[5] and ids[2] == ids[4] and len(set(ids)) == 4
    assert value("SELECT count(*) FROM background_jobs") == 4


def test_a_key_is_taken_until_its_job_has_ended() -> None:
    first = _add()
    claim = _claim()
    assert _add() == first, "it is processing"
    finish(claim, Ending.RETRY)
    assert _add() == first, "it waits for its retry"
    finish(_claim())

    second = _add()

    assert second != first
    assert job_queue.cancel_job(second)
    assert _add() not in (first, second)


def test_retrying_into_a_taken_key_returns_false_and_changes_nothing() -> None:
    first = _add()
    finish(_claim(), Ending.FAILED)
    second = _add()

    assert job_queue.retry_job(first) is False

    assert job(first)["status"] == "failed"
    assert value("SELECT count(*) FROM audit_log") == 0
    assert job_queue.cancel_job(second)
    assert job_queue.retry_job(first) is True


def test_eight_threads_that_add_one_key_at_once_get_one_job(wide_pool: None) -> None:
    for _ in range(20):
        query("TRUNCATE background_jobs CASCADE")

        assert len(set(at_once(8, lambda _: _add()))) == 1
        assert value("SELECT count(*) FROM background_jobs") == 1


def test_batches_over_the_same_keys_in_any_order_do_not_deadlock(wide_pool: None) -> None:
    keys = [f"key-{n}" for n in range(200)]

    def add(thread: int) -> dict[str, str]:
        mine = keys[::-1] if thread % 2 else keys
        ids = job_queue.add_batch([{"type": "note", "unique_key": key} for key in mine])
        return dict(zip(mine, ids, strict=True))

    added = at_once(8, add)

    assert all(batch == added[0] for batch in added)
    assert value("SELECT count(*) FROM background_jobs") == 200


def _while_uncommitted(sql: str, work: Callable[[], str], *, end: str) -> str:
    """What `work` returns when it has to wait for another transaction that ran `sql` and then ends."""
    got: list[str] = []
    with databases.connect() as other:
        other.execute("BEGIN")
        other.execute(sql)  # type: ignore[arg-type]
        thread = threading.Thread(target=lambda: got.append(work()))
        thread.start()
        while not value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            time.sleep(0.005)
        other.execute(end)  # type: ignore[arg-type]
    thread.join()
    return got[0]


def test_a_holder_that_ends_while_its_key_is_added_does_not_stand_for_the_new_job() -> None:
    first = _add()

    got = _while_uncommitted("UPDATE background_jobs SET status = 'completed'", _add, end="COMMIT")

    assert got != first
    assert job(got)["status"] == "pending"


def test_a_holder_that_does_not_end_after_all_stands_for_the_new_job() -> None:
    first = _add()

    got = _while_uncommitted("UPDATE background_jobs SET status = 'completed'", _add, end="ROLLBACK")

    assert got == first


def test_a_key_that_another_transaction_is_about_to_take_is_waited_for() -> None:
    insert = "INSERT INTO background_jobs (id, job_type, unique_key) VALUES ('theirs', 'note', 'key')"

    assert _while_uncommitted(insert, _add, end="COMMIT") == "theirs"


def test_a_key_that_another_transaction_did_not_take_after_all_is_ours() -> None:
    insert = "INSERT INTO background_jobs (id, job_type, unique_key) VALUES ('theirs', 'note', 'key')"

    got = _while_uncommitted(insert, _add, end="ROLLBACK")

    assert got != "theirs"
    assert [row[0] for row in query("SELECT id FROM background_jobs")] == [got]
