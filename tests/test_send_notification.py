"""Job type `send_notification`: to staff at several places, each once, and to a customer by the customer's channel."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_customer, execute, rows
from http_server import Answer, Asked, HttpServer
from mail_server import MailServer

from flows.testing import run_due_jobs
from models import InvalidJobError, job_queue, registry
from models.apprise_urls import apprise_urls, phone_template
from models.settings import SettingsError, settings
from tasks import PermanentError, Snooze
from tasks.context import CurrentJob, running_job
from tasks.services.notify import (
    ANSWER_SECONDS,
    AT_ONCE,
    SEVERITIES,
    NotifyDownError,
    NotifyRefusedError,
    hand_over,
    place_of,
)
from tasks.services.staff import PartlyToldError, notify
from tests.ports import unused_port
from tests.running import until
from tests.support import job as row_of

SECRET = "hunter2"
#: Apprise waits 4 s for an answer unless it is asked for more, and some answers here wait for others.
PATIENT = f"rto={ANSWER_SECONDS:g}&cto={ANSWER_SECONDS:g}"


@pytest.fixture(autouse=True)
def own_outbox(database: str, configure: Any, tmp_path: Path) -> None:
    configure(JOB_QUEUE_DATA_DIR=tmp_path, QUIET_HOURS="08:00-08:00")


@pytest.fixture
def web() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


@pytest.fixture
def places(web: HttpServer, configure: Any) -> None:
    """Three places, /one, /two and /three, of which each URL has a secret."""
    urls = [
        f"json://user:{SECRET}@{web.host}/{name}/{SECRET}?+X-Key={SECRET}&{PATIENT}" for name in ("one", "two", "three")
    ]
    configure(NOTIFY_URLS=", ".join(urls))


def run(job_id: str | None = None, **changes: Any) -> Any:
    """One attempt, of a job of this id."""
    declared = registry.load()["send_notification"]
    payload = {"audience": "staff", "title": "Truck 7", "body": "Broke down.", "severity": "warning", **changes}

    async def attempt() -> Any:
        if job_id is not None:
            running_job.set(CurrentJob(job_id, "send_notification", 1, 3, lambda *_: None))
        return await declared.run(declared.payload.model_validate(payload))

    return asyncio.run(attempt())


def broken(*names: str, status: int = 503) -> Any:
    """An answer by which these places cannot be told."""
    return lambda asked: Answer(status if asked.path.split("/")[1] in names else 200)


def paths(web: HttpServer) -> list[str]:
    return sorted(asked.path.split("/")[1] for asked in web.asked)


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_place_is_told_with_the_severity(severity: str, web: HttpServer) -> None:
    assert run(severity=severity) == {"places": 3, "already": 0}

    assert paths(web) == ["one", "three", "two"]
    told = json.loads(web.asked[0].body)
    kind = {"info": "info", "success": "success", "warning": "warning", "critical": "failure"}[severity]
    assert (told["title"], told["message"], told["type"]) == ("Truck 7", "Broke down.", kind)


@pytest.mark.usefixtures("places")
def test_two_workers_with_the_same_job_tell_each_place_once(web: HttpServer) -> None:
    """The first one was taken for dead, its job given to a second one, and then it goes on."""
    here, go_on = threading.Event(), threading.Event()

    def slow(asked: Asked) -> Answer:
        here.set()
        go_on.wait(60)
        return Answer()

    web.answer = slow
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, "j1")
        assert here.wait(30)
        second = pool.submit(run, "j1")
        until(
            lambda: rows(
                "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'dirtfree-jobs-locks' OFFSET 1"
            ),
            what="the second one at the lock",
        )
        go_on.set()
        told = {first.result()["places"], second.result()["places"]}

    assert told == {0, 3}
    assert paths(web) == ["one", "three", "two"]


@pytest.mark.usefixtures("places")
def test_a_retry_tells_only_those_that_do_not_have_it(web: HttpServer) -> None:
    web.answer = broken("two")
    with pytest.raises(PartlyToldError) as failed:
        run("j1")
    assert str(failed.value) == (
        f"1 of 3 places not notified: json://{web.host} (number 2 of NOTIFY_URLS): answered 503"
    )
    assert rows("SELECT attempts, sent_at IS NOT NULL FROM notifications ORDER BY sent_at NULLS LAST") == [
        (1, True), (1, True), (1, False),
    ]  # fmt: skip

    web.answer = broken()
    assert run("j1") == {"places": 1, "already": 2}
    assert run("j1") == {"places": 0, "already": 3}

    assert paths(web) == ["one", "three", "two", "two"]
    assert rows("SELECT max(attempts), count(*), count(sent_at) FROM notifications") == [(2, 3, 3)]
    # Another job's message is another message.
    assert run("j2") == {"places": 3, "already": 0}


@pytest.mark.usefixtures("places")
def test_nothing_secret_is_in_an_error_or_in_the_database(web: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    web.answer = broken("one", "two", status=401)
    job_id = job_queue.add_job(type="send_notification", payload={"audience": "staff", "title": "t", "body": "b"})

    run_due_jobs("send_notification")

    row = row_of(job_id)
    assert row["status"] == "failed" and "number 1 of NOTIFY_URLS): refused, answered 401" in row["error_message"]
    stored = rows("SELECT notifications::text FROM notifications") + rows("SELECT job_failures::text FROM job_failures")
    assert len(stored) == 4
    for text in [str(row), *map(str, stored), caplog.text]:
        assert SECRET not in text


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_place_that_refuses_for_good_is_not_tried_again(status: int, web: HttpServer, configure: Any) -> None:
    configure(NOTIFY_URLS=f"json://{web.host}/one")
    # Followed, the redirect would be taken for a success.
    web.answer = lambda asked: Answer(status if asked.path == "/one" else 200, headers={"Location": f"{web.url}/two"})
    with pytest.raises(PermanentError, match=f"refused, answered {status}"):
        run()
    assert len(web.asked) == 1


def test_a_redirect_is_not_followed_though_the_url_asks_for_it(web: HttpServer) -> None:
    web.answer = lambda asked: Answer(307, headers={"Location": f"{web.url}/elsewhere"})
    with pytest.raises(NotifyRefusedError, match="answered 307, and redirects are not followed"):
        asyncio.run(hand_over(f"json://{web.host}/?redirect=yes&retry=3", "it", title="t", body="b"))
    assert web.paths == ["/"]


def test_nobody_there_is_an_outage() -> None:
    with pytest.raises(NotifyDownError, match="^it: no answer$"):
        asyncio.run(hand_over(f"json://127.0.0.1:{unused_port()}/", "it", title="t", body="b"))


@pytest.mark.parametrize(
    "url", ["nosuch://hunter2/", "http://{host}/hunter2.yml", "file:///hunter2", "json://", "include://{host}/hunter2"]
)
def test_what_apprise_would_load_or_does_not_know_is_refused_and_not_fetched(
    url: str, web: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NotifyRefusedError, match="^it: expected a URL that Apprise knows, got another"):
        asyncio.run(hand_over(url.format(host=web.host), "it", title="t", body="b"))
    assert web.asked == [] and SECRET not in caplog.text


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("json://user:hunter2@host.example:8080/hunter2?x=hunter2", "json://host.example:8080"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", "slack://T...2"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram://1...p"),
        ("mailto://me:hunter2@example.com", "mailto://example.com"),
        ("nosuch://hunter2", "nosuch://..."),
    ],
)
def test_a_place_is_named_without_what_opens_it(url: str, place: str) -> None:
    assert asyncio.run(place_of(url)) == place


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("text", ["*b* _i_ `c` [l](http://x)", "<b>&amp;</b>", "{{ 7*7 }}", ":smile: \\n %s", "a\n\nb"])
def test_a_text_is_plain_and_arrives_as_it_is(text: str, web: HttpServer) -> None:
    run(body=text)
    assert json.loads(web.asked[0].body)["message"] == text


def test_what_reads_html_gets_text_that_is_none(configure: Any) -> None:
    """Apprise's own mails are HTML; here through its SMTP plug-in."""
    with MailServer(auth_require_tls=False) as server:
        configure(
            NOTIFY_URLS=f"mailto://127.0.0.1:{server.port}?from=jobs@example.com&to=staff@example.com&mode=insecure"
        )
        run(title="Truck\r\nBcc: evil@example.org", body="<script>alert(1)</script>\r\nBcc: evil@example.org")

        (mail,) = server.received
    assert mail.recipients == ["staff@example.com"]
    assert mail.message["Bcc"] is None
    html = mail.message.get_body(("html",))
    assert html is not None and "<script>" not in html.get_content() and "&lt;script&gt;" in html.get_content()


def test_without_places_the_setting_is_named() -> None:
    with pytest.raises(PermanentError, match="NOTIFY_URLS is not set: put the Apprise URLs there"):
        run()


@pytest.fixture
def held_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker that opens stays open to the end of the test, however slow the machine."""
    monkeypatch.setattr(notify, "_first_hold", 60.0)


@pytest.mark.usefixtures("held_for_long")
def test_when_no_place_answers_the_type_is_held_and_no_attempt_is_spent(web: HttpServer, configure: Any) -> None:
    configure(NOTIFY_URLS=f"json://{web.host}/one")
    web.answer = lambda asked: Answer(500)
    payload = {"audience": "staff", "title": "t", "body": "b"}
    jobs = [job_queue.add_job(type="send_notification", payload=payload) for _ in range(12)]

    run_due_jobs("send_notification")

    assert rows("SELECT breaker FROM services WHERE service = 'notify'") == [("open",)]
    spent = [row_of(job_id)["retry_count"] for job_id in jobs]
    assert sum(spent) == 5 and {row_of(job_id)["status"] for job_id in jobs} == {"pending"}


@pytest.mark.usefixtures("held_for_long")
def test_a_service_that_hangs_is_asked_a_few_times_at_once_and_then_left_alone(
    web: HttpServer, configure: Any
) -> None:
    """Those that wait for their turn meanwhile are put off when it comes: no attempt of theirs is spent."""
    configure(NOTIFY_URLS=f"json://{web.host}/one?rto=0.3")
    web.answer = lambda asked: (web.over.wait(20), Answer())[1]
    payload = {"audience": "staff", "title": "t", "body": "b"}
    jobs = [job_queue.add_job(type="send_notification", payload=payload) for _ in range(20)]

    run_due_jobs("send_notification")

    spent = sum(row_of(job_id)["retry_count"] for job_id in jobs)
    assert 5 <= spent < 5 + AT_ONCE
    assert len(web.asked) < 5 + AT_ONCE


def test_a_customer_is_told_by_the_customers_channel(web: HttpServer, configure: Any) -> None:
    add_customer(name="Anna")
    with MailServer() as server:
        configure(SMTP_URL=server.url(), SMS_URL=f"json://{web.host}/{{phone}}", JOB_QUEUE_WEBHOOK_HOSTS=web.host)
        result = run("j1", audience="c1", title="Late", body="Half an hour <b>late</b>, {{ sorry }}")
        assert run("j1", audience="c1") == {"skipped": "already sent"}
        (mail,) = server.received
    assert mail.message["Subject"] == "Late" and result["channel"] == "email"
    assert "&lt;b&gt;late&lt;/b&gt;, {{ sorry }}" in mail.message.get_body(("html",)).get_content()  # type: ignore[union-attr]

    execute("UPDATE customers SET channel = 'sms', phone = '+14155550123'")
    run("j2", audience="c1", title="Late", body="Sorry")
    assert json.loads(web.asked[0].body)["message"] == "Late\nSorry"

    execute("UPDATE customers SET channel = 'webhook', webhook_url = %s", web.url)
    run("j3", audience="c1", title="Late", body="Sorry")
    assert json.loads(web.asked[1].body) == {
        "type": "notification", "data": {"title": "Late", "body": "Sorry", "severity": "warning"},
    }  # fmt: skip


def test_a_customers_quiet_hours_are_kept_unless_it_is_critical() -> None:
    add_customer()
    execute("UPDATE customers SET quiet_from = '00:00', quiet_until = '23:59:59.999999'")

    with pytest.raises(Snooze, match="quiet hours until"):
        run(audience="c1")
    assert "message_id" in run(audience="c1", severity="critical")


def test_a_customer_who_is_not_there_fails_for_good() -> None:
    with pytest.raises(PermanentError, match="there is no customer 'nobody'"):
        run(audience="nobody")


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": ""}, {"title": ""}, {"body": ""}, {"title": "x" * 251}, {"body": "x" * 4001}, {"severity": "bad"},
        {"urls": ["json://elsewhere"]}, {"attach": "http://elsewhere"},
    ],
)  # fmt: skip
def test_a_payload_that_cannot_run_is_refused_at_the_door(changes: dict[str, Any]) -> None:
    payload = {"audience": "staff", "title": "t", "body": "b", **changes}
    with pytest.raises(InvalidJobError, match="payload does not fit send_notification"):
        job_queue.add_job(type="send_notification", payload=payload)


def test_urls_are_split_where_one_begins() -> None:
    assert apprise_urls(" json://a/b , mailto://u:p@h?to=x@y.z,q@y.z,\n json://a/b ,tgram://1:2/3 ") == [
        "json://a/b", "mailto://u:p@h?to=x@y.z,q@y.z", "tgram://1:2/3",
    ]  # fmt: skip
    assert apprise_urls(" ") == []
    assert phone_template(" twilio://a:b@c/{phone} ") == "twilio://a:b@c/{phone}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("NOTIFY_URLS", "json://a/, hunter2 and more", "NOTIFY_URLS=a secret value: expected URLs such as json://host"),
        ("NOTIFY_URLS", ",".join(f"json://hunter2/{n}" for n in range(21)), "expected at most 20 URLs, got 21"),
        ("SMS_URL", "json://hunter2/", "SMS_URL=a secret value: expected one URL with {phone} once in it"),
        ("SMS_URL", "json://hunter2/{phone}/{phone}", "expected one URL with {phone} once in it"),
        ("COMPANY_TIME_ZONE", "Mars", "COMPANY_TIME_ZONE='Mars': expected a time zone's name such as America/Chicago"),
        ("QUIET_HOURS", "8pm-8am", "QUIET_HOURS='8pm-8am': expected two times of day such as 20:00-08:00"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_shown(name: str, value: str, message: str, configure: Any) -> None:
    configure(**{name: value})
    with pytest.raises(SettingsError) as refused:
        settings()
    assert message in str(refused.value) and SECRET not in str(refused.value)


def test_places_are_told_at_once(web: HttpServer, configure: Any) -> None:
    """None of three answers before all have been asked."""
    configure(NOTIFY_URLS=",".join(f"json://{web.host}/{number}?{PATIENT}" for number in range(3)))

    def wait_for_all(asked: Asked) -> Answer:
        until(lambda: len(web.asked) == 3, what="the other questions")
        return Answer()

    web.answer = wait_for_all
    assert run() == {"places": 3, "already": 0}
