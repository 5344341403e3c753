"""Job type `send_promotion`: one mail per customer and promotion, whatever dies, refuses or runs at the same time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import psycopg
import pytest
from crm_rows import add_customer, add_promotion, execute, rows
from mail_server import MailServer
from running import until

from models import database as database_module
from models import exclusive, registry
from models.messages import begin_sending
from models.promotions import promotion_key
from tasks import PermanentError
from tasks.services import outbox
from tasks.services.smtp import SmtpError

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("own_outbox")


@pytest.fixture
def own_outbox(database: str, configure: Any, tmp_path: Path) -> None:
    configure(JOB_QUEUE_DATA_DIR=tmp_path)


def job(customer: str = "c1", promotion: str = "p1", opportunity: str | None = None) -> Any:
    """The attempt of one job, to be awaited."""
    send_promotion = registry.load()["send_promotion"]
    payload = {"customer_id": customer, "promotion_id": promotion, "opportunity_id": opportunity}
    return send_promotion.run(send_promotion.payload.model_validate(payload))


def mails_in_outbox() -> list[EmailMessage]:
    parser = BytesParser(policy=default)
    messages = [parser.parsebytes(path.read_bytes()) for path in sorted(outbox.outbox().glob("*.eml"))]
    return [message for message in messages if isinstance(message, EmailMessage)]


def texts(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None and html is not None
    return text.get_content(), html.get_content()


def sent() -> list[tuple[Any, ...]]:
    return rows("SELECT id, customer_id, kind, subject_id, channel, sent_at IS NOT NULL FROM messages")


@pytest.mark.parametrize("channel", ["outbox", "smtp"])
def test_run_twice_the_mail_goes_out_once(channel: str, configure: Any) -> None:
    add_customer()
    add_promotion()
    with MailServer() as server:
        if channel == "smtp":
            configure(SMTP_URL=server.url())
        assert "message_id" in asyncio.run(job())
        assert asyncio.run(job()) == {"skipped": "already sent"}

        assert len(server.received) + len(mails_in_outbox()) == 1
        assert [row[4:] for row in sent()] == [(channel, True)]


def test_a_message_that_went_out_under_another_id_is_not_sent_again() -> None:
    add_customer()
    add_promotion()
    execute("INSERT INTO messages VALUES ('imported', 'c1', 'send_promotion', 'p1', 'smtp', now(), now())")

    assert asyncio.run(job()) == {"skipped": "already sent"}
    assert asyncio.run(begin_sending(promotion_key("c1", "p1"), "outbox")) is False


@pytest.mark.parametrize("channel", ["outbox", "smtp"])
def test_of_jobs_for_the_same_pair_at_the_same_time_one_sends(channel: str, configure: Any) -> None:
    async def at_once() -> list[Any]:
        return await asyncio.gather(*(job() for _ in range(8)))

    add_customer()
    add_promotion()
    with MailServer() as server:
        if channel == "smtp":
            configure(SMTP_URL=server.url())
        results = asyncio.run(at_once())

        assert len(server.received) + len(mails_in_outbox()) == 1
    assert sorted(len(result) and next(iter(result)) for result in results) == ["message_id"] + ["skipped"] * 7


def test_a_job_waits_for_another_worker_that_sends_the_same_and_then_gives_way(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_customer()
    add_promotion()
    key = promotion_key("c1", "p1")
    with MailServer() as server, psycopg.connect(database_module.database_url(), autocommit=True) as other:
        configure(SMTP_URL=server.url())
        monkeypatch.setattr("tasks.services.delivery.PATIENCE_SECONDS", 0.0)
        (number,) = rows(
            "SELECT ('x' || substr(encode(sha256(%s), 'hex'), 1, 16))::bit(64)::bigint", f"mail {key.id}".encode()
        )
        other.execute("SELECT pg_advisory_lock(%s)", number)

        with pytest.raises(exclusive.AlreadyRunningError, match="is being done by another job"):
            asyncio.run(job())
        other.execute("SELECT pg_advisory_unlock(%s)", number)

        assert "message_id" in asyncio.run(job())
        assert len(server.received) == 1


def test_a_lock_whose_connection_broke_is_taken_on_a_new_one(configure: Any) -> None:
    with_locks = "pg_stat_activity WHERE application_name = 'dirtfree-jobs-locks'"

    async def main(server: MailServer) -> None:
        await job()
        # Those of loops that are over end a moment after them.
        until(lambda: len(rows(f"SELECT FROM {with_locks}")) == 1, what="the end of earlier connections")
        assert rows(f"SELECT pg_terminate_backend(pid, 60000) FROM {with_locks}") == [(True,)]
        with pytest.raises(psycopg.OperationalError):
            await job(promotion="p2")
        await job(promotion="p2")

    add_customer()
    add_promotion()
    add_promotion("p2")
    with MailServer() as server:
        configure(SMTP_URL=server.url())
        asyncio.run(main(server))

        assert len(server.received) == 2


def test_a_file_that_was_written_before_a_kill_is_not_written_again() -> None:
    add_customer()
    add_promotion()
    asyncio.run(job())
    (written,) = outbox.outbox().glob("*.eml")
    before = written.read_bytes()
    execute("UPDATE messages SET sent_at = NULL")

    assert asyncio.run(job()) == {"skipped": "already sent"}

    assert written.read_bytes() == before
    assert len(mails_in_outbox()) == 1
    assert sent()[0][-1] is True


def test_killed_between_acceptance_and_record_it_is_sent_once_more_with_the_same_id(configure: Any) -> None:
    add_customer()
    add_promotion()
    code = (
        "import asyncio\nfrom models import registry\nsend = registry.load()['send_promotion']\n"
        "asyncio.run(send.run(send.payload(customer_id='c1', promotion_id='p1')))\n"
    )
    with MailServer() as server:
        configure(SMTP_URL=server.url())
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started: Future[int] = Future()
        # The server has the mail, and the worker dies before it reads so.
        server.on_accepted = lambda: os.kill(started.result(60), signal.SIGKILL)
        worker = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT)
        started.set_result(worker.pid)
        assert worker.wait(60) == -signal.SIGKILL
        assert len(server.received) == 1
        assert sent()[0][-1] is False

        server.on_accepted = lambda: None
        assert "message_id" in asyncio.run(job())
        assert asyncio.run(job()) == {"skipped": "already sent"}

        assert len(server.received) == 2
        assert len({str(mail.message["Message-ID"]) for mail in server.received}) == 1
        assert sent()[0][-1] is True


def test_a_server_that_is_down_fails_the_attempt_and_the_next_one_sends(configure: Any) -> None:
    add_customer()
    add_promotion()
    server = MailServer()
    configure(SMTP_URL=server.url())
    with pytest.raises(SmtpError, match="connection failed"):
        asyncio.run(job())
    with server:
        assert "message_id" in asyncio.run(job())
        assert [mail.recipients for mail in server.received] == [["anna@example.com"]]


@pytest.mark.parametrize(("reply", "for_good"), [("450 try later", False), ("550 no such user", True)])
def test_a_refused_mail_is_not_recorded_as_sent(reply: str, for_good: bool, configure: Any) -> None:
    add_customer()
    add_promotion()
    with MailServer() as server:
        configure(SMTP_URL=server.url())
        server.on_recipient = lambda envelope: reply
        with pytest.raises(PermanentError if for_good else SmtpError, match=reply):
            asyncio.run(job())
        assert sent()[0][-1] is False
        server.on_recipient = lambda envelope: None
        assert "message_id" in asyncio.run(job())


def test_no_connection_of_the_pool_is_held_while_the_mail_server_is_slow(configure: Any) -> None:
    """More mails are in flight than the engine has connections, and none ends before all have begun."""
    count = 12
    begun: list[str] = []
    everybody = asyncio.Event()

    async def wait_for_everybody(envelope: Any) -> None:
        begun.append(envelope.rcpt_tos[-1])
        if len(begun) == count:
            everybody.set()
        await everybody.wait()

    async def main() -> None:
        await asyncio.gather(*(job(f"c{number}") for number in range(count)))

    for number in range(count):
        add_customer(f"c{number}", email=f"c{number}@example.com")
    add_promotion()
    with MailServer() as server:
        configure(SMTP_URL=server.url(f"?connections={count}"))
        server.on_recipient = wait_for_everybody
        asyncio.run(main())

        assert len(server.received) == count
