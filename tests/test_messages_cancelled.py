"""A job that is cancelled while its effect is under way: the effect is written down all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_appointment, add_customer, execute, rows
from http_server import Answer, Asked, HttpServer
from mail_server import MailServer

from models import registry
from tasks.context import CurrentJob, running_job

CASES = [
    ("send_reminder", "email", {"appointment_id": "planned"}),
    ("send_reminder", "sms", {"appointment_id": "planned"}),
    ("send_reminder", "webhook", {"appointment_id": "planned"}),
    ("send_notification", "email", {"audience": "staff", "title": "t", "body": "b"}),
]


@pytest.fixture
def servers(database: str, configure: Any, tmp_path: Path) -> Iterator[tuple[MailServer, HttpServer]]:
    with MailServer() as mails, HttpServer() as web:
        configure(
            JOB_QUEUE_DATA_DIR=tmp_path,
            QUIET_HOURS="08:00-08:00",
            SMTP_URL=mails.url(),
            SMS_URL=f"json://{web.host}/{{phone}}",
            NOTIFY_URLS=f"json://{web.host}/one, json://{web.host}/two",
            JOB_QUEUE_WEBHOOK_HOSTS=web.host,
        )
        add_customer()
        add_appointment("planned")
        yield mails, web


def attempt(job_type: str, payload: dict[str, Any]) -> Any:
    declared = registry.load()[job_type]
    running_job.set(CurrentJob("j1", job_type, 1, 3, lambda *_: None))
    return declared.run(declared.payload.model_validate(payload))


@pytest.mark.parametrize(("job_type", "channel", "payload"), CASES)
def test_cancelled_while_it_is_handed_over_it_goes_out_once(
    job_type: str, channel: str, payload: dict[str, Any], servers: tuple[MailServer, HttpServer]
) -> None:
    mails, web = servers
    execute("UPDATE customers SET channel = %s, phone = '+14155550123', webhook_url = %s", channel, web.url)
    here, go_on = threading.Semaphore(0), threading.Event()

    def taken(asked: Asked | None = None) -> Answer:
        here.release()
        go_on.wait(60)
        return Answer()

    mails.on_accepted, web.answer = taken, taken
    places = 2 if job_type == "send_notification" else 1

    async def main() -> Any:
        running = asyncio.create_task(attempt(job_type, payload))
        for _ in range(places):
            await asyncio.to_thread(here.acquire)
        running.cancel()
        await asyncio.sleep(0.05)
        assert not running.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        return await attempt(job_type, payload)

    again = asyncio.run(main())

    assert again in ({"skipped": "already sent"}, {"places": 0, "already": 2})
    assert len(mails.received) + len(web.asked) == places
    table = "notifications" if job_type == "send_notification" else "messages"
    assert rows(f"SELECT DISTINCT sent_at IS NOT NULL FROM {table}") == [(True,)]


@pytest.mark.parametrize("refuse", [lambda: Answer(503), lambda: Answer(404)])
def test_what_is_refused_while_its_job_is_cancelled_is_not_taken_for_sent(
    refuse: Callable[[], Answer], servers: tuple[MailServer, HttpServer]
) -> None:
    _, web = servers
    execute("UPDATE customers SET channel = 'webhook', webhook_url = %s", web.url)
    here, go_on = threading.Event(), threading.Event()

    def refused(asked: Asked) -> Answer:
        here.set()
        go_on.wait(60)
        return refuse()

    web.answer = refused

    async def main() -> None:
        running = asyncio.create_task(attempt("send_reminder", {"appointment_id": "planned"}))
        await asyncio.to_thread(here.wait)
        running.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert rows("SELECT sent_at IS NOT NULL FROM messages") == [(False,)]


def test_cancelled_before_anything_is_handed_over_it_ends_at_once(servers: tuple[MailServer, HttpServer]) -> None:
    mails, _ = servers
    here, over = threading.Event(), asyncio.Event()

    async def wait(envelope: Any) -> None:
        here.set()
        await over.wait()

    mails.on_recipient = wait

    async def main() -> None:
        running = asyncio.create_task(attempt("send_reminder", {"appointment_id": "planned"}))
        await asyncio.to_thread(here.wait)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert mails.received == []
    assert rows("SELECT sent_at IS NOT NULL FROM messages") == [(False,)]
