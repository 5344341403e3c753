"""Payments of which nobody knows yet whether the money was taken: asked about less and less often, and told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from api_server import TOKENS, VIEWER, client, serving
from crm_rows import add_customer, execute, rows
from playwright.sync_api import Browser, expect
from prometheus_client.parser import text_string_to_metric_families
from stripe_server import KEY, Answer, StripeProxy, stripe_server
from support import insert
from support import job as row_of

from dashboard import answers
from flows.testing import run_due_jobs
from models import job_queue
from models.payments_in_doubt import Doubt, payments_in_doubt
from tests.browser import dashboard, settled, visit
from tests.pages import open_page, texts

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def stripe(database: str, configure: Any) -> Iterator[StripeProxy]:
    """An empty Stripe behind a proxy, as the settings name it, and a customer."""
    add_customer()
    with stripe_server() as server, StripeProxy(server) as proxy:
        configure(STRIPE_API_KEY=KEY, STRIPE_API_BASE=proxy.url)
        yield proxy


def in_doubt(age: str, *, status: str = "processing", job: str | None = None, invoice: str = "i-1") -> None:
    """The row of a payment that has been in doubt for so long."""
    execute(
        "INSERT INTO payments (invoice_id, customer_id, amount, currency, payment_method, status, job_id, updated_at)"
        " VALUES (%s, 'c1', 12.5, 'usd', 'pm_1', %s, %s, now() - %s::interval)",
        invoice, status, job, age,
    )  # fmt: skip


def put_off_by(job_id: str) -> float:
    (row,) = rows("SELECT extract(epoch FROM scheduled_for - updated_at) FROM background_jobs WHERE id = %s", job_id)
    return float(row[0])


def test_a_bank_that_takes_days_is_asked_after_a_minute_and_less_and_less_often_up_to_every_hour(
    stripe: StripeProxy,
) -> None:
    stripe.after = lambda asked, answer: Answer(200, {**answer.body, "status": "processing"})
    payload = {"invoice_id": "i-1", "customer_id": "c1", "amount": "12.50", "payment_method": stripe.server.card()}
    job_id = job_queue.add_job(type="process_payment", payload=payload)
    run_due_jobs("process_payment")
    assert put_off_by(job_id) == 60

    for age, shortest, longest in (("10 minutes", 600, 1200), ("40 minutes", 2400, 3600), ("3 days", 3600, 3600)):
        execute("UPDATE payments SET updated_at = now() - %s::interval", age)
        execute("UPDATE background_jobs SET scheduled_for = now()")
        before = rows("SELECT updated_at FROM payments")

        run_due_jobs("process_payment")

        assert shortest <= put_off_by(job_id) <= longest
        assert rows("SELECT updated_at FROM payments") == before, "in doubt since then"
        assert (row_of(job_id)["status"], row_of(job_id)["retry_count"]) == ("pending", 0)

    stripe.after = lambda asked, answer: answer
    execute("UPDATE background_jobs SET scheduled_for = now()")
    run_due_jobs("process_payment")

    assert row_of(job_id)["status"] == "completed"
    assert rows("SELECT status, updated_at = paid_at FROM payments") == [("succeeded", True)]
    assert stripe.operations().count("confirm") == len(stripe.server.charges()) == 1


def test_an_answer_that_got_lost_is_in_doubt_since_stripe_was_first_asked_to_charge(stripe: StripeProxy) -> None:
    stripe.before = lambda asked: Answer(503, "busy") if asked.operation == "confirm" else None
    payload = {"invoice_id": "i-1", "customer_id": "c1", "amount": "12.50", "payment_method": stripe.server.card()}
    job_id = job_queue.add_job(type="process_payment", payload=payload, max_retries=1)
    run_due_jobs("process_payment")
    execute("UPDATE payments SET updated_at = now() - interval '2 hours'")
    assert payments_in_doubt().asked.oldest_job_id == job_id
    execute("UPDATE background_jobs SET scheduled_for = now()")

    run_due_jobs("process_payment")

    assert rows("SELECT status, confirmations FROM payments") == [("unknown", 2)]
    assert row_of(job_id)["status"] == "failed"
    found = payments_in_doubt()
    assert (found.asked, found.unasked.late, found.unasked.oldest_job_id) == (Doubt(), 1, job_id)
    assert found.unasked.oldest_seconds >= 7200


@pytest.fixture
def customer(database: str) -> Iterator[None]:
    answers.forget()
    add_customer()
    yield
    answers.forget()


def links(page: Any) -> list[tuple[str, dict[str, list[str]]]]:
    return [(each.proto.page, parse_qs(each.proto.query_string)) for each in page.get("page_link")]


def test_a_bank_debit_of_days_is_said_without_alarm_and_leads_to_the_oldest_ones_job(customer: None) -> None:
    oldest, newer, new = (insert(job_type="process_payment", scheduled_for="2999-01-01") for _ in range(3))
    in_doubt("50 hours", job=oldest, invoice="i-1")
    in_doubt("61 minutes", job=newer, invoice="i-2")
    in_doubt("50 minutes", job=new, invoice="i-3")

    page = open_page("overview")

    words = "2 payments have waited over 1 h for the bank's answer; the oldest, of invoice `i-1`, 2 d 2 h"
    assert f":blue[:material/info:] {words}" in texts(page)
    assert links(page) == [("job", {"id": [oldest]})]
    answers.forget()
    execute("DELETE FROM payments WHERE invoice_id = 'i-1'")
    words = "1 payment has waited over 1 h for the bank's answer; the oldest, of invoice `i-2`, 1 h"
    assert words in texts(open_page("overview"))
    answers.forget()
    execute("UPDATE payments SET status = 'succeeded', paid_at = now()")
    assert "Healthy" in texts(open_page("overview"))


@pytest.mark.parametrize("ended", ["failed", "cancelled"])
def test_the_warning_that_no_job_asks_any_more_leads_to_the_job_which_is_retried_there(
    customer: None, browser: Browser, ended: str
) -> None:
    job_id = insert(job_type="process_payment", status=ended, completed_at="now", error_message="Stripe was away")
    in_doubt("5 hours", status="unknown", job=job_id, invoice="i-`1`")
    in_doubt("3 hours", status="unknown", job=insert(status="completed", completed_at="now"), invoice="i-2")
    with dashboard() as shown, shown.visitor(browser) as page:
        visit(page, "/")
        verdict = page.locator(".st-key-verdict")
        expect(verdict).to_contain_text(
            "No job asks Stripe any more about 2 payments in doubt for over 1 h; the oldest, of invoice i-`1`, 5 h:"
            " retry their jobs, or add some"
        )

        verdict.get_by_role("link", name="Look").click()
        settled(page)
        page.locator(".st-key-retry_job button").click()

        expect(page.locator(".st-key-notice")).to_contain_text("1 retried")
        assert row_of(job_id)["status"] == "pending"
    assert payments_in_doubt().asked.oldest_job_id == job_id


def test_a_payment_whose_job_was_deleted_is_told_by_its_invoice(customer: None) -> None:
    in_doubt("5 hours", job="deleted")

    page = open_page("overview")

    words = "No job asks Stripe any more about 1 payment in doubt for over 1 h; the oldest, of invoice `i-1`, 5 h:"
    assert f":orange[:material/warning:] {words} retry its job, or add one" in texts(page)
    assert links(page) == []


def test_prometheus_is_told_how_many_and_how_old(customer: None, configure: Any) -> None:
    configure(**TOKENS)
    in_doubt("2 hours", job=insert(job_type="process_payment"), invoice="i-1")
    in_doubt("1 minute", job=insert(job_type="process_payment"), invoice="i-2")
    in_doubt("3 hours", status="unknown", invoice="i-3")

    with serving() as url, client(url, VIEWER) as prometheus:
        families = text_string_to_metric_families(prometheus.get("/metrics").text)
        found = {
            (sample.name, sample.labels["asked"]): sample.value
            for family in families
            for sample in family.samples
            if "payments" in sample.name
        }

    name = "dirtfree_payments_in_doubt"
    assert (found[name, "yes"], found[name, "no"]) == (2, 1)
    assert 7200 <= found[f"{name}_oldest_seconds", "yes"] < 10_800 <= found[f"{name}_oldest_seconds", "no"]
