"""An insert by anyone wakes idle workers: the trigger notifies when, and only when, a live worker says it waits.

So does an attempt whose job is due again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from support import claimer, finish, insert, query, value, worker_row

from models import database as databases
from models.claims import Claim
from models.outcomes import Ending

Heard = Callable[[], int]

MANY = "INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, 500)"


@pytest.fixture
def heard(database: str) -> Iterator[Heard]:
    """How many notifications came since it was last asked.

    No time-out: notifications come in the order of the commits, so what had to come has come before the mark.
    """
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN background_jobs")

        def count() -> int:
            listener.execute("NOTIFY background_jobs, 'the mark'")
            payloads = []
            for notification in listener.notifies(timeout=30):
                if notification.payload == "the mark":
                    return len(payloads)
                payloads.append(notification.payload)
            raise AssertionError(f"the mark did not come, only {payloads}")

        yield count


def _copy(connection: psycopg.Connection[Any], rows: int) -> None:
    with connection.cursor().copy("COPY background_jobs (job_type) FROM STDIN") as copy:
        for _ in range(rows):
            copy.write_row(["note"])


def test_a_job_wakes_a_worker_that_waits(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    insert()

    assert heard() == 1


def test_many_jobs_in_one_statement_are_one_notification(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    query(MANY)

    assert heard() == 1
    assert value("SELECT count(*) FROM background_jobs") == 500


def test_each_statement_on_its_own_notifies(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    for _ in range(3):
        insert()

    assert heard() == 3


def test_many_statements_in_one_transaction_are_one_notification(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    with databases.transaction() as connection:
        for _ in range(3):
            connection.execute(MANY)

    assert heard() == 1


def test_many_waiting_workers_are_one_notification(heard: Heard) -> None:
    for number in range(5):
        worker_row(f"idle-{number}", waiting=True)
    insert()

    assert heard() == 1


def test_copy_wakes_a_worker(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    with databases.transaction() as connection:
        _copy(connection, 1000)

    assert heard() == 1


def test_the_notification_comes_with_the_commit_and_not_before(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    with databases.transaction() as connection:
        connection.execute(MANY)
        assert heard() == 0

    assert heard() == 1


def test_after_a_rollback_nobody_is_woken(heard: Heard) -> None:
    worker_row("idle", waiting=True)
    with databases.transaction() as connection:
        connection.execute(MANY)
        _copy(connection, 10)
        raise psycopg.Rollback

    assert heard() == 0
    assert value("SELECT count(*) FROM background_jobs") == 0


def test_without_workers_nobody_is_notified(heard: Heard) -> None:
    query(MANY)

    assert heard() == 0


def test_a_busy_worker_is_not_notified(heard: Heard) -> None:
    worker_row("busy", waiting=False)
    query(MANY)
    with databases.transaction() as connection:
        _copy(connection, 10)

    assert heard() == 0


def test_a_worker_that_died_waiting_is_not_notified(heard: Heard) -> None:
    worker_row("dead", waiting=True, beat_age=31)
    insert()
    assert heard() == 0

    with databases.transaction() as connection:  # at one time: a second later the worker would be dead too
        connection.execute(
            "INSERT INTO workers (worker_id, host, pid, job_types, waiting, beat_at)"
            " VALUES ('alive', 'here', 1, '{note}', true, now() - interval '29 seconds')"
        )
        connection.execute("INSERT INTO background_jobs (job_type) VALUES ('note')")
    assert heard() == 1


def test_changes_to_jobs_that_are_there_notify_nobody(heard: Heard) -> None:
    job_id = insert()
    worker_row("idle", waiting=True)
    query("UPDATE background_jobs SET priority = 9 WHERE id = %s", job_id)
    query("DELETE FROM background_jobs WHERE id = %s", job_id)

    assert heard() == 0


@pytest.mark.parametrize("waiting", [True, False])
@pytest.mark.parametrize("ending", Ending)
def test_a_job_that_is_due_again_tells_a_worker_that_waits_when_to_look(
    heard: Heard, ending: Ending, waiting: bool
) -> None:
    """Else it would wait for the idle worker's poll interval, while the worker that ran it has its hands full."""
    worker_row("idle", waiting=waiting)
    insert()
    claim = claimer().claim()
    assert isinstance(claim, Claim)
    heard()
    finish(claim, ending, delay=2.0)

    assert heard() == (waiting and ending in (Ending.RETRY, Ending.SNOOZED))
