"""Job type `send_promotion`: the mail, what is in it, and who gets none."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_customer, add_opportunity, add_promotion, execute, rows

from models import registry
from models.unsubscribe import unsubscribe
from tasks import PermanentError
from tasks.context import CurrentJob, running_job
from tasks.services import outbox
from tasks.services.outbox import DemoFailureError

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


def test_the_customer_gets_the_promotion_with_a_way_out() -> None:
    add_customer(name="Anna Müller")
    add_promotion(body="Clean carpets.\nAll of them.\n\nCall us.", discount="12.50")

    result = asyncio.run(job())

    (mail,) = mails_in_outbox()
    text, html = texts(mail)
    assert mail["To"].addresses[0].addr_spec == "anna@example.com"
    assert mail["Subject"] == "Clean carpets for spring"
    assert mail["Message-ID"] == f"<{result['message_id']}@dirtfree.example>"
    for part in (text, html):
        assert "Hello Anna Müller," in part
        assert "12.5%" in part and "Your personal price" not in part
        assert "Clean carpets." in part and "Call us." in part
    link = str(mail["List-Unsubscribe"]).strip("<>")
    assert link in text and f'href="{link}"' in html
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "All of them.</p>" in html and "Clean carpets.<br>" in html
    assert sent() == [(result["message_id"], "c1", "send_promotion", "p1", "outbox", True)]


def test_an_offer_puts_its_price_into_the_mail() -> None:
    add_promotion(discount="50")
    add_opportunity(customer=add_customer())
    execute("INSERT INTO offers VALUES ('f1', 'o1', 'p1', 1111.05, 10)")

    asyncio.run(job(opportunity="o1"))

    for part in texts(mails_in_outbox()[0]):
        assert "$1,111.05" in part and "10% off" in part and "offer=f1" in part and "50%" not in part


def test_the_mails_link_unsubscribes_and_nothing_is_sent_from_then_on() -> None:
    add_customer()
    add_promotion()
    add_promotion("p2")
    asyncio.run(job())
    token = str(mails_in_outbox()[0]["List-Unsubscribe"]).strip("<>").rpartition("/")[2]

    assert not unsubscribe(token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert unsubscribe(token)
    assert unsubscribe(token)

    assert asyncio.run(job(promotion="p2")) == {"skipped": "unsubscribed"}
    assert len(mails_in_outbox()) == 1
    assert len(sent()) == 1


@pytest.mark.parametrize(
    "text",
    ["{{ 7 * 7 }}", "{% for x in y %}", "{{ customer_name.__class__.__mro__ }}", "{# gone #}", "{{ undefined }}"],
)
def test_stored_text_is_data_and_comes_out_as_it_stands(text: str) -> None:
    add_customer(name=f"Anna {text}")
    add_promotion(subject=f"Spring {text}", body=f"Body {text}\n\n{text}")

    asyncio.run(job())

    (mail,) = mails_in_outbox()
    assert mail["Subject"] == f"Spring {text}"
    for part in texts(mail):
        assert f"Hello Anna {text}," in part and f"Body {text}" in part


def test_stored_text_is_no_html() -> None:
    add_customer(name="Anna <b>&")
    add_promotion(subject="<i>Spring</i>", body="<script>alert('hi')</script>")

    asyncio.run(job())

    text, html = texts(mails_in_outbox()[0])
    assert "<script>alert('hi')</script>" in text and "Anna <b>&" in text
    assert "<script>" not in html and "<b>" not in html and "<i>" not in html
    assert "&lt;script&gt;" in html and "Anna &lt;b&gt;&amp;" in html


def test_staff_words_promotions_anew_and_what_is_stored_in_them_is_still_data() -> None:
    add_customer(name="Anna")
    add_promotion(subject="Spring {{ 7*7 }}", body="Clean {{ body }} carpets.", discount="12.50")
    execute(
        "INSERT INTO message_templates (name, subject, body) VALUES"
        " ('promotion', '{{ company }}: {{ title }}', 'For {{ customer_name }}, {{ discount }}:\n\n{{ body }}')"
    )

    asyncio.run(job())

    (mail,) = mails_in_outbox()
    assert mail["Subject"] == "Dirt Free: Spring {{ 7*7 }}"
    assert "For Anna, 12.5%:\r\n\r\nClean {{ body }} carpets." in texts(mail)[0]


@pytest.mark.parametrize(
    ("customer", "promotion", "opportunity", "message"),
    [
        ("nobody", "p1", None, "there is no customer 'nobody'"),
        ("c1", "nothing", None, "there is no promotion 'nothing'"),
        ("silent", "p1", None, "the customer has no e-mail address: add one in the CRM"),
        ("blank", "p1", None, "the customer has no e-mail address: add one in the CRM"),
        ("two", "p1", None, "expected exactly one e-mail address such as name@example.com, got 'a@b.example, c@d.ex"),
        ("trick", "p1", None, "the customer cannot be written to: the name: expected text without line breaks"),
        ("c1", "long", None, "mail to the customer 'c1': the subject: expected text without line breaks"),
        ("c1", "p1", "o1", "there is no offer of the promotion 'p1' to the customer 'c1' for the opportunity 'o1'"),
        ("c1", "p1", "theirs", "there is no offer of the promotion 'p1' to the customer 'c1' for the opportunity"),
    ],
)
def test_what_no_retry_can_mend_fails_for_good(
    customer: str, promotion: str, opportunity: str | None, message: str
) -> None:
    add_customer()
    add_customer("silent", email=None)
    add_customer("blank", email="  ")
    add_customer("two", email="a@b.example, c@d.example")
    add_customer("trick", name="Anna\r\nBcc: evil@example.org")
    add_promotion()
    add_promotion("long", subject="Spring\nBcc: evil@example.org")
    add_opportunity("theirs", customer="silent")
    execute("INSERT INTO offers VALUES ('f1', 'theirs', 'p1', 10, 10)")

    with pytest.raises(PermanentError) as refused:
        asyncio.run(job(customer, promotion, opportunity))

    assert message in str(refused.value)
    assert mails_in_outbox() == []


def test_a_promotion_that_is_over_is_not_sent_but_an_offer_stands() -> None:
    add_customer()
    add_promotion(active=False)
    add_opportunity()
    execute("INSERT INTO offers VALUES ('f1', 'o1', 'p1', 10, 10)")

    assert asyncio.run(job()) == {"skipped": "promotion not active"}
    assert "message_id" in asyncio.run(job(opportunity="o1"))


def test_a_demonstrations_failure_is_retried_and_the_mail_goes_out(configure: Any) -> None:
    configure(JOB_QUEUE_DEMO_MAIL_FAILURES="0.5")
    customers = [add_customer(f"c{number}", email=f"c{number}@example.com") for number in range(20)]
    add_promotion()

    async def attempt(customer: str, number: int) -> bool:
        running_job.set(CurrentJob(customer, "send_promotion", number, 2, lambda *_: None))
        try:
            await job(customer)
        except DemoFailureError:
            return False
        return True

    async def main() -> dict[int, int]:
        left, failed = set(customers), {}
        for number in (1, 2, 3):
            done = {customer for customer in left if await asyncio.create_task(attempt(customer, number))}
            left -= done
            failed[number] = len(left)
        return failed

    failed = asyncio.run(main())

    assert failed[1] > 0 and failed[3] == 0
    assert len(mails_in_outbox()) == 20
