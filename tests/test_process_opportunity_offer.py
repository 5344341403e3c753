"""Job type `process_opportunity_offer`: one offer for an opportunity, and the mail with it, in one transaction."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from crm_rows import add_customer, add_opportunity, add_promotion, execute, rows
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from running import process as process_of
from running import until
from sqlalchemy import event

from flows.testing import run_due_jobs
from models import database as database_module
from models import job_queue, registry
from models.offers import amount_after
from models.promotions import promotion_key
from models.rescue import rescue_lost_jobs
from tasks import PermanentError
from tasks.services import outbox

pytestmark = pytest.mark.usefixtures("database")


def process(opportunity: str = "o1") -> dict[str, Any]:
    job_type = registry.load()["process_opportunity_offer"]
    (result,) = job_type.run([job_type.payload.model_validate({"opportunity_id": opportunity})])
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, dict)
    return result


def offers() -> list[tuple[Any, ...]]:
    return rows("SELECT opportunity_id, promotion_id, amount, discount_percent FROM offers ORDER BY opportunity_id")


def status(opportunity: str = "o1") -> str:
    found = rows("SELECT status FROM opportunities WHERE id = %s", opportunity)[0][0]
    assert isinstance(found, str)
    return found


def queued_mails() -> list[tuple[Any, ...]]:
    return rows("SELECT id, job_type, payload, priority, unique_key, max_retries FROM background_jobs ORDER BY id")


def test_an_opportunity_gets_its_offer_and_the_customer_a_mail() -> None:
    add_customer(tier="vip")
    add_promotion(discount="12.5")
    add_opportunity(value="6000.10")

    result = process()

    assert offers() == [("o1", "p1", Decimal("5250.09"), Decimal("12.50"))]
    assert status() == "proposal"
    ((job_id, job_type, payload, priority, unique_key, max_retries),) = queued_mails()
    assert (job_type, max_retries) == ("send_promotion", 4)
    assert payload == {"customer_id": "c1", "promotion_id": "p1", "opportunity_id": "o1"}
    # The base 5, 3 for the tier, 2 for the value.
    assert priority == 10
    assert unique_key == promotion_key("c1", "p1").id
    assert result == {
        "offer_id": rows("SELECT id FROM offers")[0][0],
        "promotion_id": "p1",
        "discount_percent": "12.50",
        "amount": "5250.09",
        "mail_job_id": job_id,
    }


def test_the_queued_mail_can_be_sent_as_it_stands(configure: Any, tmp_path: Path) -> None:
    configure(JOB_QUEUE_DATA_DIR=tmp_path)
    add_customer()
    add_promotion()
    add_opportunity()
    process()
    send_promotion = registry.load()["send_promotion"]

    asyncio.run(send_promotion.run(send_promotion.payload.model_validate(queued_mails()[0][2])))

    assert len(list(outbox.outbox().glob("*.eml"))) == 1


@pytest.mark.parametrize("before", ["new", "qualified", "proposal"])
def test_an_open_opportunity_ends_up_in_proposal(before: str) -> None:
    add_customer()
    add_promotion()
    add_opportunity(status=before)

    process()

    assert status() == "proposal"


@pytest.mark.parametrize("before", ["won", "lost"])
def test_a_closed_opportunity_is_left_alone(before: str) -> None:
    add_customer()
    add_promotion()
    add_opportunity(status=before)

    assert process() == {"skipped": f"the opportunity is {before}"}

    assert status() == before
    assert offers() == [] and queued_mails() == []


def test_run_twice_there_is_one_offer_and_one_mail() -> None:
    add_customer()
    add_promotion()
    add_opportunity()
    first = process()
    # Also when the mail's job has ended and its unique key is free again.
    execute("UPDATE background_jobs SET status = 'completed'")

    assert process() == {"skipped": "has an offer", "offer_id": first["offer_id"]}

    assert len(offers()) == 1 and len(queued_mails()) == 1


def test_run_by_several_workers_at_once_there_is_one_offer_and_one_mail() -> None:
    add_customer()
    add_promotion()
    add_opportunity()
    ready = threading.Barrier(6)

    def work(_: int) -> dict[str, Any]:
        ready.wait(60)
        return process()

    with ThreadPoolExecutor(6) as workers:
        results = list(workers.map(work, range(6)))

    assert sum("mail_job_id" in result for result in results) == 1
    assert sum(result.get("skipped") == "has an offer" for result in results) == 5
    assert len(offers()) == 1 and len(queued_mails()) == 1


def test_many_opportunities_of_one_customer_at_once_get_an_offer_each_and_share_the_mail() -> None:
    add_customer()
    add_promotion()
    names = [add_opportunity(f"o{number}") for number in range(12)]

    with ThreadPoolExecutor(6) as workers:
        results = list(workers.map(process, names))

    assert len(offers()) == 12
    assert len(queued_mails()) == 1
    assert len({result["mail_job_id"] for result in results}) == 1


def test_the_highest_discount_that_fits_wins_and_of_equals_the_first_by_id() -> None:
    add_customer(tier="premium")
    add_promotion("all", discount="5")
    add_promotion("over", discount="90", active=False)
    add_promotion("others", discount="80", tier="vip")
    add_promotion("too-big", discount="70", minimum="1234.51")
    add_promotion("just", discount="20", minimum="1234.50")
    add_promotion("also", discount="20", tier="premium")
    add_opportunity(value="1234.50")

    assert process()["promotion_id"] == "also"


def test_an_unknown_value_counts_as_nothing() -> None:
    add_customer()
    add_promotion("big", discount="50", minimum="0.01")
    add_promotion("any", discount="5")
    add_opportunity(value=None)

    result = process()

    assert (result["promotion_id"], result["amount"]) == ("any", "0.00")


def test_without_a_promotion_that_fits_nothing_happens() -> None:
    add_customer()
    add_promotion(tier="vip")
    add_opportunity()

    assert process() == {"skipped": "no promotion fits"}

    assert status() == "new"
    assert offers() == [] and queued_mails() == []


@pytest.mark.parametrize(
    ("customer", "reason"),
    [
        (None, "no customer"),
        ("silent", "the customer has no e-mail address"),
        ("blank", "the customer has no e-mail address"),
        ("gone", "the customer has unsubscribed"),
    ],
)
def test_who_cannot_be_written_to_gets_the_offer_without_a_mail(customer: str | None, reason: str) -> None:
    add_customer("silent", email=None)
    add_customer("blank", email=" ")
    add_customer("gone")
    execute("UPDATE customers SET unsubscribed_at = now() WHERE id = 'gone'")
    add_promotion("theirs", discount="50", tier="vip")
    add_promotion()
    add_opportunity(customer=customer)

    result = process()

    assert result["no_mail"] == reason and "mail_job_id" not in result
    assert [row[:2] for row in offers()] == [("o1", "p1")]
    assert status() == "proposal"
    assert queued_mails() == []


def test_an_unknown_opportunity_fails_for_good() -> None:
    with pytest.raises(PermanentError, match="there is no opportunity 'o1': it was deleted, or the id is wrong"):
        process()


def test_when_the_mail_cannot_be_queued_there_is_no_offer_either(monkeypatch: pytest.MonkeyPatch) -> None:
    add_customer()
    add_promotion()
    add_opportunity()

    def broken(*_: Any, **__: Any) -> str:
        raise ConnectionError("gone in the middle")

    monkeypatch.setattr("tasks.process_opportunity_offer.job_queue.add_batch", broken)
    with pytest.raises(ConnectionError):
        process()

    assert offers() == [] and queued_mails() == []
    assert status() == "new"


@pytest.mark.parametrize("jobs", [1, 200])
def test_a_batch_of_any_size_is_one_transaction_of_five_statements(jobs: int) -> None:
    add_customer()
    add_promotion()
    for number in range(jobs):
        add_opportunity(f"o{number}")
    engine = database_module.engine()
    job_type = registry.load()["process_opportunity_offer"]
    seen: list[str] = []

    def note(connection: Any, cursor: Any, text: str, *_: Any) -> None:
        seen.append(text)

    def committed(connection: Any) -> None:
        seen.append("COMMIT")

    event.listen(engine, "before_cursor_execute", note)
    event.listen(engine, "commit", committed)
    try:
        results = job_type.run([job_type.payload(opportunity_id=f"o{number}") for number in range(jobs)])
    finally:
        event.remove(engine, "before_cursor_execute", note)
        event.remove(engine, "commit", committed)

    assert len(seen) == 6 and seen[-1] == "COMMIT"
    assert "FOR UPDATE" in seen[1]
    assert len({result["offer_id"] for result in results}) == len(offers()) == jobs
    # One mail for one customer and promotion, for however many opportunities.
    assert {result["mail_job_id"] for result in results} == {mail[0] for mail in queued_mails()}


def test_one_that_somebody_holds_is_tried_later_and_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.offers.LOCK_SECONDS", 0.2)
    add_customer()
    add_promotion()
    jobs = [
        job_queue.add_job(type="process_opportunity_offer", payload={"opportunity_id": add_opportunity(f"o{number}")})
        for number in range(3)
    ]
    with psycopg.connect(database_module.database_url()) as somebody:
        somebody.execute("SELECT FROM opportunities WHERE id = 'o1' FOR UPDATE")
        run_due_jobs("process_opportunity_offer")

    assert [offer[0] for offer in offers()] == ["o0", "o2"]
    states = rows("SELECT status, error_message FROM background_jobs WHERE id = ANY (%s) ORDER BY id", jobs)
    assert [state for state, _ in states] == ["completed", "pending", "completed"]
    assert "lock timeout" in states[1][1]
    assert process("o1")["offer_id"]


def test_each_of_a_batch_gets_what_is_its_own() -> None:
    add_customer()
    add_promotion("small", discount="5")
    add_promotion("large", discount="15", minimum="5000")
    add_opportunity("open", value="100")
    add_opportunity("big", value="6000")
    add_opportunity("won", status="won")
    job_type = registry.load()["process_opportunity_offer"]

    results = job_type.run(
        [job_type.payload(opportunity_id=name) for name in ("gone", "big", "won", "open", "big")]
    )

    gone, big, won, small, again = results
    assert isinstance(gone, PermanentError) and "there is no opportunity 'gone'" in str(gone)
    assert (big["promotion_id"], small["promotion_id"]) == ("large", "small")
    assert won == {"skipped": "the opportunity is won"}
    assert again == {"skipped": "has an offer", "offer_id": big["offer_id"]}


def test_a_promotion_may_ask_for_an_age() -> None:
    add_customer()
    add_promotion("always", discount="5")
    add_promotion("win-back", discount="25")
    execute("UPDATE promotions SET minimum_age_days = 30 WHERE id = 'win-back'")
    add_opportunity("fresh")
    add_opportunity("stale")
    execute("UPDATE opportunities SET created_at = now() - interval '30 days' WHERE id = 'stale'")

    assert process("fresh")["promotion_id"] == "always"
    assert process("stale")["promotion_id"] == "win-back"


def test_killed_between_the_offers_and_the_outcomes_they_are_made_once(database: str) -> None:
    add_customer()
    add_promotion()
    for number in range(20):
        add_opportunity(f"o{number}")
    jobs = job_queue.add_batch(
        {"type": "process_opportunity_offer", "payload": {"opportunity_id": f"o{number}"}} for number in range(20)
    )
    # However long we take, it waits for us.
    code = (
        "from models import offers; offers.LOCK_SECONDS = 600.0; "
        "from flows.testing import run_due_jobs; run_due_jobs('process_opportunity_offer')"
    )
    with psycopg.connect(database) as recording, psycopg.connect(database) as making, process_of("-c", code) as worker:
        making.execute("SELECT FROM opportunities WHERE id = 'o0' FOR UPDATE")
        until(lambda: rows("SELECT count(*) FROM background_jobs WHERE status = 'processing'") == [(20,)])
        # Nobody can end the jobs while we hold their rows: the worker makes the offers, and dies before their record.
        recording.execute("SELECT FROM background_jobs WHERE id = ANY (%s) FOR UPDATE", [jobs])
        making.rollback()
        until(lambda: len(offers()) == 20, what="the offers")
        worker.kill()
    # Its server process may still be about to record the outcomes, and holds the rows until it finds nobody there.
    until(
        lambda: rows(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND xact_start IS NOT NULL"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        ) == [(0,)],
        what="the end of the killed worker's transactions",
    )  # fmt: skip
    assert rows("SELECT DISTINCT status FROM background_jobs WHERE id = ANY (%s)", jobs) == [("processing",)]
    execute("UPDATE workers SET beat_at = now() - interval '1 minute'")
    with database_module.connect() as connection:
        assert rescue_lost_jobs(connection) == 20

    run_due_jobs("process_opportunity_offer")

    assert len(offers()) == 20 and len(queued_mails()) == 21
    assert rows("SELECT DISTINCT status, result->>'skipped' FROM background_jobs WHERE id = ANY (%s)", jobs) == [
        ("completed", "has an offer")
    ]


@examples(deadline=None)
@given(
    value=st.decimals(0, 9_999_999_999, places=2),
    discount=st.decimals(0, 100, places=2),
)
def test_a_price_is_exact_to_the_cent_and_never_above_the_value(value: Decimal, discount: Decimal) -> None:
    amount = amount_after(value, discount)

    assert amount == amount.quantize(Decimal("0.01"))
    assert 0 <= amount <= value
    assert abs(amount - value * (100 - discount) / 100) <= Decimal("0.005")


@pytest.mark.parametrize(("value", "amount"), [("0.05", "0.02"), ("0.15", "0.08"), ("0.25", "0.12"), ("0.35", "0.18")])
def test_half_a_cent_goes_to_the_even_one(value: str, amount: str) -> None:
    assert amount_after(Decimal(value), Decimal(50)) == Decimal(amount)
