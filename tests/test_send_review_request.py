"""Job type `send_review_request`: who is asked for a review, once, and not again within 90 days."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_appointment, add_customer, execute, rows
from mail_server import MailServer

from flows.testing import run_due_jobs
from models import InvalidJobError, job_queue, registry
from models.reviews import ReviewAnswer, record_review
from models.unsubscribe import unsubscribe
from tasks import PermanentError, ServiceDownError, Snooze
from tasks.services.service import FAILURES_THAT_OPEN, ServiceHeld
from tasks.services.smtp import SmtpError, mail_server
from tests.support import job as row_of

ASKED_LATELY = {"skipped": "asked within 90 days"}


@pytest.fixture(autouse=True)
def mails(database: str, configure: Any, tmp_path: Path) -> Iterator[MailServer]:
    with MailServer() as server:
        configure(JOB_QUEUE_DATA_DIR=tmp_path, SMTP_URL=server.url())
        add_customer(name="Anna Müller")
        add_appointment(status="completed", service="Carpets <b>{{ 7*7 }}")
        yield server


def job(appointment: str = "a1") -> Any:
    """The attempt of one job, to be awaited."""
    declared = registry.load()["send_review_request"]
    return declared.run(declared.payload.model_validate({"appointmentId": appointment}))


def run(appointment: str = "a1") -> Any:
    return asyncio.run(job(appointment))


def messages() -> list[tuple[Any, ...]]:
    return rows("SELECT subject_id, sent_at IS NOT NULL FROM messages ORDER BY subject_id")


def links(mail: Any) -> tuple[str, str]:
    """The tokens of the review link and of the unsubscribe link."""
    text = mail.message.get_body(("plain",)).get_content()
    review = text.partition("Write a review: ")[2].split()[0]
    unsubscribe_link = str(mail.message["List-Unsubscribe"]).strip("<>")
    html = mail.message.get_body(("html",)).get_content()
    assert f'href="{review}"' in html and unsubscribe_link in html
    return review.rpartition("/")[2], unsubscribe_link.rpartition("/")[2]


def test_the_customer_is_asked_once_with_a_link_that_takes_the_review(mails: MailServer) -> None:
    result = run()

    assert run() == {"skipped": "already sent"}
    (mail,) = mails.received
    assert mail.recipients == ["anna@example.com"]
    assert mail.message["Message-ID"] == f"<{result['message_id']}@dirtfree.example>"
    assert "Carpets <b>{{ 7*7 }}" in mail.message.get_body(("plain",)).get_content()
    assert "Carpets &lt;b&gt;{{ 7*7 }}" in mail.message.get_body(("html",)).get_content()
    review, _ = links(mail)
    assert record_review(review, 5, "Good") is ReviewAnswer.RECORDED
    execute("DELETE FROM messages")
    assert run() == {"skipped": "already reviewed"}


def test_who_has_unsubscribed_is_asked_nothing(mails: MailServer) -> None:
    run()
    _, token = links(mails.received[0])
    assert unsubscribe(token)
    add_appointment("a2", status="completed")
    execute("UPDATE messages SET sent_at = now() - interval '100 days', created_at = sent_at")

    assert run("a2") == {"skipped": "unsubscribed"}
    assert len(mails.received) == 1


@pytest.mark.parametrize("status", ["scheduled", "cancelled"])
def test_only_what_was_completed_is_asked_about(status: str, mails: MailServer) -> None:
    add_appointment("a2", status=status)

    assert run("a2") == {"skipped": f"the appointment is {status}"}
    assert mails.received == []


def test_a_customer_is_asked_again_after_ninety_days_and_not_before(mails: MailServer) -> None:
    add_appointment("a2", status="completed")
    run()
    for days, result in (("89 days 23 hours", ASKED_LATELY), ("90 days 1 minute", None)):
        execute("UPDATE messages SET created_at = now() - %s::interval, sent_at = now() - %s::interval", days, days)
        found = run("a2")
        assert found == result or (result is None and "message_id" in found)
    assert len(mails.received) == 2


def test_of_two_visits_asked_about_at_the_same_time_one_is(mails: MailServer) -> None:
    for number in range(2, 7):
        add_appointment(f"a{number}", status="completed")

    async def at_once() -> list[Any]:
        return await asyncio.gather(*(job(f"a{number}") for number in range(1, 7)))

    results = asyncio.run(at_once())

    assert len(mails.received) == 1
    assert [result for result in results if result == ASKED_LATELY] == [ASKED_LATELY] * 5
    assert len(messages()) == 1


def test_what_was_begun_and_perhaps_sent_counts_as_asked(mails: MailServer) -> None:
    add_appointment("a2", status="completed")
    mails.on_content = lambda envelope: "451 try later"
    with pytest.raises(SmtpError):
        run()
    mails.on_content = lambda envelope: None

    assert run("a2") == ASKED_LATELY
    assert "message_id" in run()
    assert messages() == [("a1", True)]


def test_what_was_refused_for_good_does_not_count_as_asked(mails: MailServer) -> None:
    add_appointment("a2", status="completed")
    mails.on_recipient = lambda envelope: "550 no such user"
    with pytest.raises(PermanentError):
        run()
    assert messages() == []
    mails.on_recipient = lambda envelope: None

    assert "message_id" in run("a2")


def test_what_was_put_off_in_the_middle_counts_as_asked(mails: MailServer) -> None:
    """The breaker was opened by others while this mail was under way, and then its connection broke, too."""

    async def others_fail(envelope: Any) -> str:
        for _ in range(FAILURES_THAT_OPEN):
            with suppress(ServiceDownError):
                async with mail_server.call():
                    raise ServiceDownError("gone")
        return "421 closing"

    mails.on_content = others_fail
    with pytest.raises(ServiceHeld):
        run()

    assert messages() == [("a1", False)]


def test_what_was_not_even_tried_does_not_count_as_asked(
    mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_server, "_first_hold", 60.0)
    add_appointment("a2", status="completed")
    mails.stop()
    for _ in range(5):
        with pytest.raises(SmtpError):
            run()
    execute("DELETE FROM messages")

    with pytest.raises(Snooze):
        run()
    assert messages() == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("email = NULL", "the customer has no e-mail address: add one in the CRM"),
        ("name = E'Anna\\nBcc: evil@example.org'", "the name: expected text without line breaks"),
        ("time_zone = 'Mars'", "expected a time zone's name such as America/Chicago, got 'Mars'; correct it in"),
    ],
)
def test_what_no_retry_can_mend_fails_for_good(columns: str, message: str, mails: MailServer) -> None:
    execute(f"UPDATE customers SET {columns}")
    with pytest.raises(PermanentError) as refused:
        run()
    assert message in str(refused.value)
    with pytest.raises(PermanentError, match="there is no appointment 'nothing'"):
        run("nothing")
    assert mails.received == [] and messages() == []


@pytest.mark.parametrize("service", ["Carpets\r\nBcc: e@example.org", "=?utf-8?q?=0D=0ABcc=3A_e=40example.org?="])
def test_no_service_text_adds_a_header_or_a_recipient(service: str, mails: MailServer) -> None:
    execute("UPDATE appointments SET service = %s", service)
    execute("INSERT INTO message_templates (name, subject, body) VALUES ('review_request', '{{ service }}', 'x')")

    try:
        run()
    except PermanentError as refused:
        assert "the subject: expected text without line breaks" in str(refused)
        return
    (mail,) = mails.received
    assert mail.recipients == ["anna@example.com"]
    assert mail.message["Bcc"] is None and mail.message["Subject"] == service


def test_through_the_queue_a_mail_server_that_was_down_gets_the_mail_when_it_is_back(mails: MailServer) -> None:
    mails.stop()
    job_id = job_queue.add_job(type="send_review_request", payload={"appointment_id": "a1"})
    run_due_jobs("send_review_request")
    assert (row_of(job_id)["status"], row_of(job_id)["retry_count"]) == ("pending", 1)

    mails.start()
    execute("UPDATE background_jobs SET scheduled_for = now()")
    run_due_jobs("send_review_request")

    assert row_of(job_id)["status"] == "completed"
    assert len(mails.received) == 1


@pytest.mark.parametrize(
    "payload", [{}, {"appointment_id": ""}, {"appointment_id": 5}, {"appointment_id": "a", "x": 1}]
)
def test_a_payload_that_cannot_run_is_refused_at_the_door(payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidJobError, match="payload does not fit send_review_request"):
        job_queue.add_job(type="send_review_request", payload=payload)
