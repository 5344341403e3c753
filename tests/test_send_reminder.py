"""Job type `send_reminder`: by the customer's channel, once for each time of an appointment, and not at night."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from crm_rows import add_appointment, add_customer, execute, rows
from http_server import Answer, HttpServer
from mail_server import MailServer

from flows.testing import run_due_jobs
from models import InvalidJobError, job_queue, registry
from models.appointments import queue_reminders
from models.webhooks import webhook_secret
from tasks import PermanentError, ServiceDownError, Snooze
from tasks.services.sms import sms
from tests.support import job as row_of


def quiet_now(*zones: str) -> tuple[str, str]:
    """Hours that have begun over an hour ago in each of these zones (from west to east), and go on for another one."""
    first, last = (datetime.now(ZoneInfo(zone)).hour for zone in (zones[0], zones[-1]))
    return f"{(first - 2) % 24:02}:00", f"{(last + 2) % 24:02}:00"


@pytest.fixture(autouse=True)
def own_outbox(database: str, configure: Any, tmp_path: Path) -> None:
    configure(JOB_QUEUE_DATA_DIR=tmp_path, QUIET_HOURS="08:00-08:00")


@pytest.fixture
def mails(configure: Any) -> Iterator[MailServer]:
    with MailServer() as server:
        configure(SMTP_URL=server.url())
        yield server


@pytest.fixture
def web(configure: Any) -> Iterator[HttpServer]:
    with HttpServer() as server:
        configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host, SMS_URL=f"json://user:hunter2@{server.host}/sms/{{phone}}")
        yield server


def job(appointment: str = "a1", starts_at: str | None = None) -> Any:
    """The attempt of one job, to be awaited."""
    declared = registry.load()["send_reminder"]
    return declared.run(declared.payload.model_validate({"appointmentId": appointment, "startsAt": starts_at}))


def run(appointment: str = "a1", starts_at: str | None = None) -> Any:
    return asyncio.run(job(appointment, starts_at))


def customer(channel: str = "email", quiet: tuple[str, str] | None = None, **columns: Any) -> None:
    add_customer(name="Anna Müller")
    values = {"channel": channel, **columns}
    if quiet is not None:
        values |= {"quiet_from": quiet[0], "quiet_until": quiet[1]}
    execute(f"UPDATE customers SET {', '.join(f'{name} = %s' for name in values)}", *values.values())


def messages() -> list[tuple[Any, ...]]:
    return rows("SELECT channel, sent_at IS NOT NULL FROM messages")


def test_a_mail_says_when_by_the_customers_clock(mails: MailServer) -> None:
    customer(time_zone="America/New_York", unsubscribed_at="2026-01-01")
    add_appointment(service="Carpets, 3 rooms {{ 7*7 }} <b>")
    execute("UPDATE appointments SET starts_at = '2100-03-08 18:30:00+00'")

    result = run()

    (mail,) = mails.received
    assert mail.recipients == ["anna@example.com"]
    assert mail.message["Subject"] == "Your appointment on Monday, 8 March 2100"
    assert mail.message["Message-ID"] == f"<{result['message_id']}@dirtfree.example>"
    text, html = mail.message.get_body(("plain",)), mail.message.get_body(("html",))
    assert text is not None and html is not None
    for part in (text.get_content(), html.get_content()):
        assert "Hello Anna Müller," in part and "Monday, 8 March 2100 at 13:30 (EST)" in part
        assert "unsubscribe" not in part.lower()
    assert "Carpets, 3 rooms {{ 7*7 }} <b>" in text.get_content()
    assert "Carpets, 3 rooms {{ 7*7 }} &lt;b&gt;" in html.get_content()
    assert messages() == [("smtp", True)]


def test_a_text_message_goes_to_the_number_by_the_service_of_sms_url(web: HttpServer) -> None:
    customer("sms", phone="+1 415-555.0123")
    add_appointment(service="Carpets")

    assert run()["channel"] == "sms"
    assert run() == {"skipped": "already sent"}

    (asked,) = web.asked
    assert asked.path == "/sms/+14155550123"
    said = json.loads(asked.body)
    assert said["message"].startswith("Dirt Free: your appointment is on ") and said["message"].endswith(": Carpets")
    assert messages() == [("sms", True)]


def test_a_webhook_gets_json_with_a_signature_that_the_customer_can_check(web: HttpServer) -> None:
    customer("webhook", webhook_url=f"{web.url}/hook?x=1", time_zone="Europe/Berlin")
    add_appointment(service="Teppich „Ä“")
    execute("UPDATE appointments SET starts_at = '2100-07-01 10:00:00+00'")

    result = run()

    (asked,) = web.asked
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert json.loads(asked.body) == {
        "type": "appointment.reminder",
        "data": {
            "appointment_id": "a1",
            "customer_id": "c1",
            "service": "Teppich „Ä“",
            "starts_at": "2100-07-01T12:00:00+02:00",
            "time_zone": "Europe/Berlin",
        },
    }
    assert asked.headers["webhook-id"] == result["message_id"]
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    key = base64.b64decode(webhook_secret("c1").removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == f"v1,{signature}"
    assert webhook_secret("c1") != webhook_secret("c2")


@pytest.mark.parametrize("channel", ["email", "sms", "webhook"])
def test_of_jobs_for_the_same_appointment_at_the_same_time_one_sends(
    channel: str, mails: MailServer, web: HttpServer
) -> None:
    customer(channel, phone="+14155550123", webhook_url=web.url)
    add_appointment()

    async def at_once() -> list[Any]:
        return await asyncio.gather(*(job() for _ in range(4)))

    results = asyncio.run(at_once())

    assert len(mails.received) + len(web.asked) == 1
    assert sorted(next(iter(result)) for result in results) == ["message_id"] + ["skipped"] * 3


def test_a_moved_appointment_is_reminded_of_at_its_new_time_and_not_at_its_old_one(mails: MailServer) -> None:
    customer()
    add_appointment()
    ((before,),) = rows("SELECT starts_at FROM appointments")
    run(starts_at=before.isoformat())
    execute("UPDATE appointments SET starts_at = starts_at + interval '1 hour'")
    ((after,),) = rows("SELECT starts_at FROM appointments")

    assert run(starts_at=before.isoformat()) == {"skipped": "the appointment was moved"}
    assert "message_id" in run(starts_at=after.isoformat())
    assert run(starts_at=after.isoformat()) == {"skipped": "already sent"}
    assert len(mails.received) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("status = 'cancelled'", "the appointment is cancelled"),
        ("status = 'completed', completed_at = now()", "the appointment is completed"),
        ("starts_at = now() - interval '1 minute'", "the appointment has begun"),
    ],
)
def test_there_is_no_reminder_of_what_does_not_take_place(change: str, reason: str, mails: MailServer) -> None:
    customer()
    add_appointment()
    execute(f"UPDATE appointments SET {change}")

    assert run() == {"skipped": reason}
    assert mails.received == [] and messages() == []


def test_in_quiet_hours_a_reminder_is_put_off_and_costs_no_attempt(mails: MailServer) -> None:
    customer(quiet=quiet_now("UTC"))
    add_appointment(starts_in="3 days")
    queue_reminders(hours=100)

    run_due_jobs("send_reminder")

    ((job_id,),) = rows("SELECT id FROM background_jobs")
    waiting = row_of(job_id)
    assert (waiting["status"], waiting["retry_count"], mails.received) == ("pending", 0, [])
    assert "quiet hours until" in str(waiting["progress_note"])
    # Due when the quiet hours end, by the customer's clock.
    assert 3_600 - 60 < (waiting["scheduled_for"] - waiting["updated_at"]).total_seconds() <= 7_200

    execute("UPDATE customers SET quiet_from = '08:00', quiet_until = '08:00'")
    execute("UPDATE background_jobs SET scheduled_for = now()")
    run_due_jobs("send_reminder")

    assert row_of(job_id)["status"] == "completed"
    assert len(mails.received) == 1


def test_quiet_hours_are_the_companys_where_the_customer_has_none(configure: Any, mails: MailServer) -> None:
    # Neither zone moves its clocks.
    begin, end = quiet_now("Asia/Karachi", "Asia/Tokyo")
    configure(QUIET_HOURS=f"{begin}-{end}", COMPANY_TIME_ZONE="Asia/Karachi")
    customer()
    add_appointment(starts_in="3 days")

    with pytest.raises(Snooze, match=f"quiet hours until {end} PKT"):
        run()
    execute("UPDATE customers SET time_zone = 'Asia/Tokyo'")
    with pytest.raises(Snooze, match=f"quiet hours until {end} JST"):
        run()
    assert mails.received == []


def test_when_the_quiet_hours_outlast_the_time_until_the_appointment_nothing_is_sent(mails: MailServer) -> None:
    customer(quiet=quiet_now("UTC"))
    add_appointment(starts_in="1 second")
    execute("UPDATE appointments SET starts_at = now() + interval '500 milliseconds'")

    assert run()["skipped"] in ("quiet hours until the appointment begins", "the appointment has begun")
    assert mails.received == []


def test_a_webhook_does_not_reach_what_the_company_has_named_for_itself(web: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_INTERNAL_HOSTS=web.host, JOB_QUEUE_WEBHOOK_HOSTS="", CRM_SYNC_URL=web.url)
    customer(channel="webhook", webhook_url=f"{web.url}/customers")
    add_appointment()

    with pytest.raises(PermanentError, match="JOB_QUEUE_WEBHOOK_HOSTS"):
        run()
    assert web.asked == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"email": None}, "the customer has no e-mail address: add one in the CRM"),
        ({"email": "a@b.example, c@d.example"}, "expected exactly one e-mail address"),
        ({"name": "Anna\r\nBcc: evil@example.org"}, "the name: expected text without line breaks"),
        ({"time_zone": "../../etc/passwd"}, "expected a time zone's name such as America/Chicago, got '../../etc"),
        ({"channel": "sms"}, "the customer has no phone number"),
        ({"channel": "sms", "phone": "0171 555"}, "expected a phone number with its country such as +14155550123"),
        ({"channel": "sms", "phone": "+49(0)171555555"}, "expected a phone number with its country"),
        ({"channel": "sms", "phone": "+1415555/../../x?y=z&"}, "expected a phone number with its country"),
        ({"channel": "webhook"}, "the customer has no webhook"),
        ({"channel": "webhook", "webhook_url": "http://127.0.0.1:9/"}, "JOB_QUEUE_WEBHOOK_HOSTS"),
        ({"channel": "webhook", "webhook_url": "http://169.254.169.254/latest/meta-data"}, "JOB_QUEUE_WEBHOOK_HOSTS"),
        ({"channel": "webhook", "webhook_url": "http://[::ffff:10.0.0.1]/"}, "JOB_QUEUE_WEBHOOK_HOSTS"),
        ({"channel": "webhook", "webhook_url": "file:///etc/passwd"}, "expected an http or https URL"),
        ({"channel": "webhook", "webhook_url": "http://user:pw@example.com/"}, "without a user's name and password"),
    ],
)
def test_what_no_retry_can_mend_fails_for_good(
    columns: dict[str, Any], message: str, mails: MailServer, web: HttpServer
) -> None:
    customer(**columns)
    add_appointment()

    with pytest.raises(PermanentError) as refused:
        run()

    assert message in str(refused.value)
    assert mails.received == [] and web.asked == []


def test_without_a_service_for_text_messages_the_setting_is_named() -> None:
    customer("sms", phone="+14155550123")
    add_appointment()
    with pytest.raises(PermanentError, match="SMS_URL is not set: put the Apprise URL of your SMS service there"):
        run()


def test_an_appointment_that_is_not_there_fails_for_good() -> None:
    with pytest.raises(PermanentError, match="there is no appointment 'nothing'"):
        run("nothing")


@pytest.mark.parametrize(
    ("channel", "status", "error", "text"),
    [
        ("webhook", 500, ServiceDownError, "webhook: the customer's server answered 500"),
        ("webhook", 429, ServiceDownError, "webhook: the customer's server answered 429"),
        ("webhook", 410, PermanentError, "webhook: the customer's server refused the message, answered 410"),
        ("webhook", 302, PermanentError, "answered 302, and redirects are not followed"),
        ("sms", 503, ServiceDownError, "SMS_URL: answered 503"),
        ("sms", 401, PermanentError, "SMS_URL: refused, answered 401"),
        ("sms", 307, PermanentError, "SMS_URL: refused, answered 307, and redirects are not followed"),
    ],
)
def test_what_a_server_answers_is_told_without_secrets_and_not_recorded_as_sent(
    channel: str, status: int, error: type[Exception], text: str, web: HttpServer
) -> None:
    customer(channel, phone="+14155550123", webhook_url=f"{web.url}/hook/hunter2")
    add_appointment()
    web.answer = lambda asked: Answer(status, b"no", {"Location": f"{web.url}/other"})

    with pytest.raises(error) as refused:
        run()

    assert text in str(refused.value) and "hunter2" not in str(refused.value)
    assert len(web.asked) == 1
    assert messages() == [(channel, False)]
    web.answer = lambda asked: Answer()
    assert "message_id" in run()


def test_an_sms_service_that_is_down_holds_back_text_messages_and_no_mails(
    web: HttpServer, mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this test is, nobody is tried again meanwhile.
    monkeypatch.setattr(sms, "_first_hold", 3_600.0)
    web.answer = lambda asked: Answer(503)
    customer("sms", phone="+14155550123")
    add_customer("c2", email="second@example.com")
    for number in range(6):
        add_appointment(f"a{number}")
    add_appointment("mail", customer="c2")
    jobs = [
        job_queue.add_job(type="send_reminder", payload={"appointment_id": f"a{number}"}, priority=9 - number)
        for number in range(6)
    ]
    last = job_queue.add_job(type="send_reminder", payload={"appointment_id": "mail"}, priority=1)

    run_due_jobs("send_reminder")

    assert row_of(last)["status"] == "completed" and len(mails.received) == 1
    # Five failures open the breaker; who comes after is put off without spending an attempt.
    assert sorted(row_of(job_id)["retry_count"] for job_id in jobs) == [0, 1, 1, 1, 1, 1]
    assert {row_of(job_id)["status"] for job_id in jobs} == {"pending"}


HOSTILE = [
    "Carpets\r\nBcc: evil@example.org",
    "=?utf-8?q?hi=0D=0ABcc=3A_evil=40example.org?=",
    "Carpets\nTo: evil@example.org\n\n<script>",
    "Ca\u2028rpets\x00".replace("\x00", "\x0b"),
]


@pytest.mark.parametrize("service", HOSTILE)
@pytest.mark.parametrize("subject", ["{{ service }}", "{{ customer_name }}: {{ service | trim }}"])
def test_no_service_text_adds_a_header_or_a_recipient(service: str, subject: str, mails: MailServer) -> None:
    customer()
    add_appointment(service=service)
    execute("INSERT INTO message_templates (name, subject, body) VALUES ('reminder', %s, '{{ service }}')", subject)

    try:
        run()
    except PermanentError as refused:
        assert "the subject: expected text without line breaks" in str(refused)
        assert mails.received == []
        return
    (mail,) = mails.received
    assert mail.recipients == ["anna@example.com"]
    assert "evil@example.org" not in str(mail.message["To"])
    assert mail.message["Bcc"] is None and service in mail.message["Subject"]


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("Hello\r\nBcc: evil@example.org", "the subject: expected text without line breaks"),
        ("{{ ''.__class__ }}", "the message template reminder, subject, line 1: expected only {{ name }}"),
        ("{% for x in service %}{% endfor %}", "the message template reminder, subject, line 1: expected only"),
        ("", "the subject: expected text, got nothing"),
    ],
)
def test_a_template_of_staff_that_cannot_be_used_is_named(subject: str, message: str, mails: MailServer) -> None:
    customer()
    add_appointment()
    execute("INSERT INTO message_templates (name, subject, body) VALUES ('reminder', %s, 'x')", subject)

    with pytest.raises(PermanentError) as refused:
        run()

    assert message in str(refused.value) and mails.received == []


def test_a_template_that_cannot_be_used_stops_its_own_channel_only(mails: MailServer, web: HttpServer) -> None:
    customer(phone="+14155550123", webhook_url=web.url)
    add_appointment()
    stored = "INSERT INTO message_templates (name, subject, body) VALUES (%s, 'x', '{{ x.y }}')"
    execute(stored, "reminder_sms")
    assert run()["channel"] == "email"

    execute(stored, "reminder")
    for channel in ("webhook", "sms"):
        execute("DELETE FROM messages")
        execute("UPDATE customers SET channel = %s", channel)
        if channel == "webhook":
            assert run()["channel"] == "webhook"
        else:
            with pytest.raises(PermanentError, match="the message template reminder_sms, body, line 1"):
                run()
    assert (len(mails.received), len(web.asked)) == (1, 1)


def test_staff_words_reminders_anew(mails: MailServer, web: HttpServer) -> None:
    customer()
    add_appointment(service="Carpets")
    stored = "INSERT INTO message_templates (name, subject, body) VALUES (%s, %s, %s)"
    execute(stored, "reminder", "{{ company }}: {{ service }}", "Hi!\n{% if service %}We do: {{ service }}{% endif %}")
    execute(stored, "reminder_sms", "", "See you, {{ customer_name | upper }}")
    run()
    assert mails.received[0].message["Subject"] == "Dirt Free: Carpets"
    assert b"We do: Carpets" in mails.received[0].content

    execute("UPDATE customers SET channel = 'sms', phone = '+14155550123'")
    execute("UPDATE appointments SET starts_at = starts_at + interval '1 hour'")
    run()
    assert json.loads(web.asked[0].body)["message"] == "See you, ANNA MÜLLER"


@pytest.mark.parametrize(
    "payload", [{}, {"appointment_id": ""}, {"appointment_id": "a", "starts_at": "2026-01-01T10:00"}]
)
def test_a_payload_that_cannot_run_is_refused_at_the_door(payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidJobError, match="payload does not fit send_reminder"):
        job_queue.add_job(type="send_reminder", payload=payload)
