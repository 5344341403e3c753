"""Job type `sync_customer_data` from the API: what it brings, what it leaves out, and what it makes of each answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import hypothesis
import psycopg
import pytest
from batches import claimed_batch
from crm_api import CrmApi, customer, opportunity
from crm_rows import add_promotion, execute, rows
from http_server import Answer, Asked
from hypothesis import given
from hypothesis import strategies as st
from running import until
from support import job as job_row

from flows.testing import run_due_jobs
from models import database as database_module
from models import job_queue
from models.door import InvalidJobError
from models.services import service_states
from models.sync import RESOURCES, Resource, queue_sync
from models.sync_items import parse_page
from models.sync_pages import MOST_AHEAD, begin_pass, store_page
from tasks.services.crm_source import crm_source
from tasks.services.service import FAILURES_THAT_OPEN

EVERYTHING = "SELECT c::text, c.xmin::text FROM customers c UNION ALL SELECT o::text, o.xmin::text FROM opportunities o"
STATE = "SELECT running, cursor, pages, etag, counts FROM crm_sync_state WHERE resource = %s"
REJECTS = "SELECT item, field, reason, value FROM crm_sync_rejects ORDER BY item"


@pytest.fixture
def api(database: str, configure: Any) -> Iterator[CrmApi]:
    api = CrmApi()
    configure(
        CRM_SYNC_URL=api.server.url, CRM_SYNC_TOKEN="the-secret-token", JOB_QUEUE_INTERNAL_HOSTS=api.server.host
    )
    with api.server:
        yield api


def sync(everything: bool = False) -> dict[str, Any]:
    """Adds a sync and runs what is due; the job's row."""
    (added,) = queue_sync(["api"], everything=everything)
    return run(added.id)


def run(job_id: str) -> dict[str, Any]:
    execute("UPDATE background_jobs SET scheduled_for = now() WHERE status = 'pending'")
    run_due_jobs("sync_customer_data")
    return job_row(job_id)


def run_once(job_id: str) -> dict[str, Any]:
    """One attempt, also where the job is due again in a second."""
    execute("UPDATE background_jobs SET scheduled_for = now() WHERE status = 'pending'")
    with claimed_batch("sync_customer_data") as batch:
        batch.run()
    return job_row(job_id)


def counts(**fields: int) -> dict[str, int]:
    return {"read": 0, "inserted": 0, "updated": 0, "unchanged": 0, "rejected": 0} | fields


def test_customers_and_opportunities_are_brought_page_by_page(api: CrmApi) -> None:
    api.customers = [
        customer(1, email="anna@example.com", tier="vip", created_at="2020-01-02T03:04:05+01:00"),
        *(customer(number) for number in range(2, 8)),
    ]
    api.opportunities = [opportunity(1, status="qualified"), opportunity(2, customer_id=None, estimated_value="99.90")]
    done = sync()

    assert done["status"] == "completed"
    assert done["result"] == {
        "customers": counts(read=7, inserted=7), "opportunities": counts(read=2, inserted=2),
    }  # fmt: skip
    assert api.asked == [
        ("customers", None, None), ("customers", None, "3"), ("customers", None, "6"), ("opportunities", None, None),
    ]  # fmt: skip
    first = api.server.asked[0]
    assert first.headers["authorization"] == "Bearer the-secret-token"
    assert first.query["limit"] == "500"
    assert rows("SELECT name, email, tier, created_at FROM customers WHERE id = 'c1'") == [
        ("Customer 1", "anna@example.com", "vip", datetime(2020, 1, 2, 2, 4, 5, tzinfo=UTC))
    ]
    stored = rows(
        "SELECT id, customer_id, title, status, estimated_value, expected_close FROM opportunities ORDER BY id"
    )
    assert stored == [
        ("o1", "c1", "Carpets 1", "qualified", Decimal("1234.50"), date(2026, 4, 1)),
        ("o2", None, "Carpets 2", "new", Decimal("99.90"), date(2026, 4, 1)),
    ]
    assert (done["progress"], done["progress_note"]) == (pytest.approx(1), "opportunities: 2 read")


def test_a_second_sync_asks_for_changes_only_and_changes_nothing(api: CrmApi) -> None:
    api.customers = [customer(1), customer(2, updated_at="2026-03-02T12:00:00Z")]
    api.opportunities = [opportunity(1)]
    sync()
    before = sorted(rows(EVERYTHING))
    api.server.asked.clear()

    assert sync()["result"]["customers"] == counts(read=1, unchanged=1)

    assert sorted(rows(EVERYTHING)) == before
    # Five minutes before the newest change, by the source's clock.
    assert api.asked == [("customers", "2026-03-02T11:55:00Z", None), ("opportunities", "2026-03-01T08:55:00Z", None)]
    api.server.asked.clear()
    assert sync(everything=True)["result"]["customers"] == counts(read=2, unchanged=2)
    assert sorted(rows(EVERYTHING)) == before
    assert api.asked == [("customers", None, None), ("opportunities", None, None)]


def test_an_etag_is_sent_with_the_same_question_and_304_is_nothing_new(api: CrmApi) -> None:
    api.etags = True
    api.customers = [customer(1)]
    # Everything, then the changes since: another question, and from then on the same one.
    for _ in range(2):
        sync()
    assert ["if-none-match" in asked.headers for asked in api.server.asked] == [False, False, False, True]
    api.server.asked.clear()

    assert sync()["status"] == "completed"

    assert ["if-none-match" in asked.headers for asked in api.server.asked] == [True, True]
    assert rows(STATE, "customers")[0][:3] == (False, None, 0)
    assert rows("SELECT result -> 'customers' FROM background_jobs ORDER BY id DESC LIMIT 1") == [(counts(),)]
    api.customers.append(customer(2))
    assert sync()["result"]["customers"] == counts(read=2, inserted=1, unchanged=1)


def test_an_older_word_does_not_overwrite_a_newer_one(api: CrmApi) -> None:
    api.customers = [customer(1, name="New", updated_at="2026-03-05T00:00:00Z")]
    api.opportunities = [opportunity(1, title="New", updated_at="2026-03-05T00:00:00Z")]
    sync()
    api.customers = [customer(1, name="Old", updated_at="2026-03-04T23:59:59Z")]
    api.opportunities = [opportunity(1, title="Old", updated_at="2026-03-04T23:59:59Z")]
    assert sync()["result"]["customers"] == counts(read=1, unchanged=1)
    assert rows("SELECT name FROM customers UNION ALL SELECT title FROM opportunities") == [("New",), ("New",)]

    api.customers = [customer(1, name="Newer", updated_at="2026-03-05T00:00:00Z")]
    assert sync()["result"]["customers"] == counts(read=1, updated=1)


def test_what_the_source_only_touched_has_not_moved_here(api: CrmApi) -> None:
    api.customers = [customer(1)]
    api.opportunities = [opportunity(1)]
    sync()
    moved = "SELECT updated_at FROM opportunities UNION ALL SELECT updated_at FROM customers"
    before = rows(moved)
    api.customers = [customer(1, updated_at="2026-03-06T00:00:00Z")]
    api.opportunities = [opportunity(1, updated_at="2026-03-06T00:00:00Z")]
    sync()
    assert rows(moved) == before
    assert rows("SELECT source_updated_at FROM opportunities") == [(datetime(2026, 3, 6, tzinfo=UTC),)]


def test_what_the_jobs_have_done_is_not_set_back(api: CrmApi) -> None:
    api.customers = [customer(1)]
    api.opportunities = [opportunity(1), opportunity(2)]
    sync()
    add_promotion()
    job_queue.add_job(type="process_opportunity_offer", payload={"opportunity_id": "o1"})
    run_due_jobs("process_opportunity_offer")
    execute("UPDATE customers SET unsubscribed_at = '2026-03-01T00:00:00Z'")
    status = "SELECT id, status, title FROM opportunities ORDER BY id"
    assert rows(status) == [("o1", "proposal", "Carpets 1"), ("o2", "new", "Carpets 2")]

    # The source does not know of the offer; what it does know comes in.
    later = {"updated_at": "2026-03-07T00:00:00Z"}
    api.customers = [customer(1, unsubscribed_at=None, **later)]
    api.opportunities = [opportunity(1, status="qualified", title="Sofa", **later), opportunity(2, status="qualified")]
    sync()
    assert rows(status) == [("o1", "proposal", "Sofa"), ("o2", "qualified", "Carpets 2")]
    assert rows("SELECT unsubscribed_at FROM customers") == [(datetime(2026, 3, 1, tzinfo=UTC),)]

    api.opportunities = [opportunity(1, status="won", **later)]
    sync()
    assert rows(status)[0][:2] == ("o1", "won")


def test_an_offer_that_is_made_during_the_sync_counts(api: CrmApi) -> None:
    """The offer's transaction has the row while the page is stored: waited for, and then seen."""
    api.customers, api.opportunities = [customer(1)], [opportunity(1)]
    sync()
    add_promotion()
    api.opportunities = [opportunity(1, status="qualified", updated_at="2026-03-07T00:00:00Z")]
    with psycopg.connect(database_module.database_url()) as other:
        other.execute("UPDATE opportunities SET status = 'proposal' WHERE id = 'o1'")
        other.execute(
            "INSERT INTO offers (id, opportunity_id, promotion_id, amount, discount_percent)"
            " VALUES ('f1', 'o1', 'p1', 1, 0)"
        )
        thread = threading.Thread(target=sync)
        thread.start()
        until(lambda: rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'opportunities'"))
        other.commit()
        thread.join()
    assert rows("SELECT status FROM opportunities") == [("proposal",)]


def test_items_that_cannot_be_stored_are_listed_and_the_rest_is_stored(api: CrmApi) -> None:
    api.page = 100
    api.more = {"total": 1e400, "colour": "blue"}
    long, far = "x" * 100_000, (datetime.now(UTC) + timedelta(days=3)).isoformat()
    api.customers = [
        customer(1, name='=HYPERLINK("http://evil.example")', fax="unknown fields are ignored"),
        customer(2, name="a\0b"), customer(3, name=long), customer(4, email="no address"), customer(5, tier="gold"),
        customer(6, updated_at="2026-03-01 09:00"), customer(7, updated_at=far), customer(8, name=8),
        customer(9, name=""), customer("\ud800"), customer("x" * 300), {"name": "no id", "updated_at": "2026-03-01"},
        {}, None, 5, "text", [[]], customer(10, updated_at=None), customer(11, email="", tier="premium"),
        customer(12, updated_at="9999-12-31T23:59:59Z"),
    ]  # fmt: skip
    api.opportunities = [
        opportunity(1), opportunity(2, customer_id="nobody"), opportunity(3, estimated_value=-1),
        opportunity(4, estimated_value=1e400), opportunity(5, estimated_value="1e400"), opportunity(6, status="open"),
        opportunity(7, estimated_value=0.001), opportunity(8, expected_close="31.12.2026"), opportunity(9, title=None),
        opportunity(10, estimated_value=True), opportunity(11, expected_close="0217-04-03"),
        opportunity(12, estimated_value=float("nan")), opportunity(13, estimated_value="'; DROP TABLE customers; --"),
        opportunity(14, estimated_value=10**400), opportunity(15, estimated_value=None, expected_close=None),
    ]  # fmt: skip
    done = sync()

    assert done["status"] == "completed", done["error_message"]
    assert done["result"]["customers"] == counts(read=20, inserted=2, rejected=18)
    assert done["result"]["opportunities"] == counts(read=15, inserted=2, rejected=13)
    assert rows("SELECT name FROM customers WHERE id = 'c1'") == [('=HYPERLINK("http://evil.example")',)]
    noted = {item: (field, reason, value) for item, field, reason, value in rows(REJECTS)}
    assert len(noted) == 31
    assert noted["c2"] == ("name", "expected text, got the control character U+0000", "a\\x00b")
    assert noted["c3"] == ("name", "expected at most 300 characters, got 100000", f"{'x' * 200}… (100,000 characters)")
    assert noted["c5"] == ("tier", "expected one of vip, premium, standard", "gold")
    assert noted["c6"][:2] == ("updated_at", "expected a moment with its offset such as 2026-03-01T09:30:00Z")
    assert noted["c9"][:2] == ("name", "expected a value, got nothing")
    assert noted["page 1, item 12"][:2] == ("id", "expected a value, got nothing")
    assert noted["page 1, item 14"][1:] == ("expected an object", "None")
    assert noted["o2"] == ("customer_id", "expected the id of a customer, got an unknown one", "nobody")
    assert noted["o3"][1] == "expected an amount from 0 to 9,999,999,999.99, got '-1'"
    assert noted["o4"][0] == "estimated_value" and "Infinity" in noted["o4"][2]

    api.customers = [customer(2, name="Mended", updated_at="2026-03-02T09:00:00Z")]
    api.opportunities = []
    sync()
    assert "c2" not in {item for item, *_ in rows(REJECTS)}


def test_an_item_that_moves_to_another_page_or_is_there_twice_is_stored_once_as_it_is_last(api: CrmApi) -> None:
    later = {"updated_at": "2026-03-01T10:00:00Z"}
    api.customers = [
        customer(1, name="Late", **later), customer(1, name="Early"), customer(2),
        customer(1, name="Early"), customer(2, name="Again", **later), customer(3),
    ]  # fmt: skip
    done = sync()
    assert done["result"]["customers"] == counts(read=6, inserted=3, updated=1, unchanged=2)
    assert rows("SELECT name FROM customers ORDER BY id") == [("Late",), ("Again",), ("Customer 3",)]


NO_PAGES = [
    b"", b"<html>", b"[]", b"null", b'{"items": {}}', b'{"items": [], "next": 5}', b'{"items": [], "next": ""}',
    b'{"items": [], "next": "a\\u0000"}', b'{"items": []', b"\xff\xfe", b'{"items": ' + b"[" * 100_000,
    json.dumps({"items": [], "next": "x" * 5000}).encode(), b'{"items": [' + b"1," * 6000 + b"1]}",
    json.dumps({"items": [{"id": str(number)} for number in range(50)], "next": None}).encode(),
]  # fmt: skip


def test_a_page_that_is_none_fails_the_attempt_and_the_next_one_asks_for_it_again(api: CrmApi) -> None:
    api.customers = [customer(number) for number in range(1, 6)]
    job_id = job_queue.add_job(type="sync_customer_data", payload={"source": "api"}, max_retries=len(NO_PAGES))
    for attempt, body in enumerate(NO_PAGES, 1):
        api.before = lambda asked, body=body: Answer(body=body) if "cursor" in asked.query else None
        tried = run(job_id)
        assert (tried["status"], tried["retry_count"]) == ("pending", attempt), body[:100]
        assert rows("SELECT count(*) FROM customers") == [(3,)]
        assert rows(STATE, "customers")[0][:3] == (True, "3", 1)
    assert rows("SELECT DISTINCT error_class FROM job_failures") == [("PageError",)]

    api.before = lambda asked: None
    assert run(job_id)["result"]["customers"] == counts(read=5, inserted=5)
    assert [cursor for resource, _, cursor in api.asked if resource == "customers"] == [
        None, *["3"] * (len(NO_PAGES) + 1),
    ]  # fmt: skip


def test_pages_that_go_round_in_circles_are_noticed(api: CrmApi) -> None:
    api.customers = [customer(number) for number in range(1, 9)]
    api.more = {"next": "3"}
    assert "expected the pages to come to an end" in sync()["error_message"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_source_that_asks_for_patience_gets_it(api: CrmApi, status: int) -> None:
    """By seconds and by a date of its own clock; not an attempt, and taken up where it was."""
    api.customers = [customer(number) for number in range(1, 6)]
    source_now = datetime(2001, 1, 1, tzinfo=UTC)
    asks = {
        "120": 120, "0": 1, "999999999": 3600,
        format_datetime(source_now + timedelta(minutes=5), usegmt=True): 300,
        format_datetime(source_now - timedelta(days=5), usegmt=True): 1,
    }  # fmt: skip
    for retry_after, seconds in asks.items():
        headers = {"Retry-After": retry_after, "Date": format_datetime(source_now, usegmt=True)}
        api.before = lambda asked, headers=headers: Answer(status, headers=headers) if "cursor" in asked.query else None
        (added,) = queue_sync(["api"])
        put_off = run_once(added.id)
        assert (put_off["status"], put_off["retry_count"]) == ("pending", 0)
        wait = put_off["scheduled_for"] - put_off["updated_at"]
        assert wait.total_seconds() == pytest.approx(seconds, abs=0.001)
        assert f"asks to wait {seconds} s" in put_off["progress_note"]
    api.before = lambda asked: None
    assert run(added.id)["result"]["customers"] == counts(read=5, inserted=5)
    assert [cursor for resource, _, cursor in api.asked if resource == "customers"] == [None, *["3"] * 6]


def test_a_source_that_is_down_is_held_and_comes_back(api: CrmApi, monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow this test is, the hold outlasts it.
    monkeypatch.setattr(crm_source, "_first_hold", 3_600.0)
    api.customers = [customer(1)]
    answers: list[Any] = [500, 502, 503, "cut", 504, 500]

    def down(asked: Asked) -> Answer | None:
        kind = answers.pop(0) if answers else None
        return None if kind is None else Answer(body=b"{", cut=True) if kind == "cut" else Answer(kind)

    api.before = down
    (added,) = queue_sync(["api"])
    for attempt in range(FAILURES_THAT_OPEN):
        assert run(added.id)["retry_count"] == attempt + 1
    (state,) = service_states()
    assert (state.service, state.breaker) == ("crm_source", "open")
    assert run(added.id)["status"] == "pending"
    assert len(answers) == 1, "nothing is claimed while its service is held"


@pytest.mark.parametrize(
    ("status", "told"), [(401, "CRM_SYNC_TOKEN"), (403, "CRM_SYNC_TOKEN"), (404, "CRM_SYNC_URL"), (304, "expected 200")]
)
def test_a_source_that_refuses_fails_the_job_for_good(api: CrmApi, status: int, told: str) -> None:
    api.before = lambda asked: Answer(status)
    failed = sync()
    assert (failed["status"], failed["retry_count"]) == ("failed", 0)
    assert told in failed["error_message"]
    assert "the-secret-token" not in failed["error_message"]


def test_a_cursor_that_the_source_has_forgotten_begins_the_pass_again(api: CrmApi) -> None:
    api.customers = [customer(number) for number in range(1, 9)]
    forgotten = ["6"]

    def forget(asked: Asked) -> Answer | None:
        return Answer(410) if forgotten and asked.query.get("cursor") == forgotten[0] and forgotten.pop() else None

    api.before = forget
    assert sync()["result"]["customers"] == counts(read=8, inserted=2, unchanged=6)

    api.before = lambda asked: Answer(410) if "cursor" in asked.query else None
    assert "410" in sync(everything=True)["error_message"]


def test_addresses_inside_the_company_are_not_synced_from(api: CrmApi, configure: Any) -> None:
    configure(JOB_QUEUE_INTERNAL_HOSTS="")
    failed = sync()
    assert failed["status"] == "failed"
    assert "JOB_QUEUE_INTERNAL_HOSTS" in failed["error_message"]

    configure(JOB_QUEUE_INTERNAL_HOSTS=api.server.host)
    api.before = lambda asked: Answer(302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    failed = sync()
    assert "'169.254.169.254' is not fetched" in failed["error_message"]


def test_without_a_source_the_job_says_what_to_set(database: str) -> None:
    for source, setting in (("api", "CRM_SYNC_URL"), ("files", "CRM_SYNC_MAPPING")):
        failed = run(job_queue.add_job(type="sync_customer_data", payload={"source": source}))
        assert failed["status"] == "failed"
        assert setting in failed["error_message"]


def test_payloads_that_name_no_source_are_refused(database: str) -> None:
    for payload in ({}, {"source": "ftp"}, {"source": "api", "url": "x"}, {"source": ["api"]}):
        with pytest.raises(InvalidJobError):
            job_queue.add_job(type="sync_customer_data", payload=payload)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(
        ["2026-03-01T09:30:00Z", "2026-03-01", "c1", "won", "vip", "1e400", "a@b.example", "\0", "\ud800", "0001-01-01"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
_FIELDS = (
    "id", "name", "email", "tier", "unsubscribed_at", "created_at", "updated_at", "title", "status", "customer_id",
    "estimated_value", "expected_close",
)  # fmt: skip


@given(
    resource=st.sampled_from(RESOURCES), changed=st.lists(st.dictionaries(st.sampled_from(_FIELDS), _JSON), max_size=15)
)
@hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
def test_whatever_stands_in_the_items_each_is_stored_or_listed(
    database: str, resource: Resource, changed: list[dict[str, Any]]
) -> None:
    usual = customer if resource == "customers" else opportunity
    items = [usual(number, customer_id=None) | fields for number, fields in enumerate(changed)]
    pass_ = begin_pass("api", resource, None, everything=True)
    page = parse_page(resource, json.dumps({"items": items, "next": None}).encode(), latest=pass_.began + MOST_AHEAD)
    done = store_page(pass_, page, None)
    assert done.counts["read"] == len(items)
    assert done.counts["rejected"] == len(page.rejects)
