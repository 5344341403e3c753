"""Job type `process_payment`: one charge for an invoice, whatever dies, times out or runs at the same time.

localstripe ignores idempotency keys: what keeps the second charge away here is the payment's row.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from crm_rows import execute, rows
from payment_jobs import job, payment, run, values
from running import PATIENCE, Process, Rows, ready, until, worker
from stripe_server import DECLINED, KEY, VISA, Answer, Asked, Dropped, StripeProxy
from support import insert

from models import job_queue
from models.card_numbers import holds_card_number
from models.rescue import rescue_lost_jobs
from models.settings import PROJECT_ROOT
from tasks import PermanentError, Snooze
from tasks.context import CurrentJob, running_job
from tasks.services import charge as charging
from tasks.services import stripe_payments
from tasks.services.stripe_payments import CardDeclinedError, StripeDownError, StripePayments

pytestmark = pytest.mark.usefixtures("database")


def dropping(operation: str) -> Any:
    """Stripe does it, and nobody hears of it."""

    def after(asked: Asked, answer: Answer) -> Answer:
        if asked.operation == operation:
            raise Dropped
        return answer

    return after


def start_attempt(card: str) -> subprocess.Popen[bytes]:
    """One attempt in a process of its own."""
    code = (
        "import asyncio, sys\nfrom models import registry\npay = registry.load()['process_payment']\n"
        "asyncio.run(pay.run(pay.payload.model_validate(eval(sys.argv[1]))))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, repr(values(card))], env=environment, cwd=PROJECT_ROOT)


@pytest.mark.parametrize("operation", ["create", "confirm"])
def test_killed_between_stripes_yes_and_its_record_the_invoice_is_charged_once(
    stripe: StripeProxy, operation: str
) -> None:
    card = stripe.server.card()
    attempt: list[subprocess.Popen[bytes]] = []
    started = threading.Event()

    def kill(asked: Asked, answer: Answer) -> Answer:
        if asked.operation == operation:
            started.wait()
            os.kill(attempt[0].pid, signal.SIGKILL)
            raise Dropped
        return answer

    stripe.after = kill
    attempt.append(start_attempt(card))
    started.set()
    assert attempt[0].wait(2 * PATIENCE) == -signal.SIGKILL
    assert payment("status") == ("unknown" if operation == "confirm" else "pending",)
    charged = len(stripe.server.charges())
    stripe.after = lambda asked, answer: answer

    result = run(card)

    assert charged == (1 if operation == "confirm" else 0)
    (charge,) = stripe.server.charges()
    assert charge["payment_intent"] == result["payment_intent"] == payment("payment_intent_id")[0]
    assert stripe.operations().count("confirm") == 1
    assert payment("status") == ("succeeded",)


def test_killed_after_a_decline_the_next_run_reports_it_and_does_not_try_the_card_again(stripe: StripeProxy) -> None:
    card = stripe.server.card(DECLINED)
    stripe.after = dropping("confirm")
    with pytest.raises(StripeDownError, match="confirm: no answer from .*RemoteProtocolError"):
        run(card)
    stripe.after = lambda asked, answer: answer

    with pytest.raises(CardDeclinedError, match=r"the card was declined \(card_declined\)"):
        run(card)

    assert stripe.operations().count("confirm") == 1


def test_a_decline_whose_job_died_is_reported_again_and_tried_again_only_when_somebody_retries_the_job(
    stripe: StripeProxy,
) -> None:
    card = stripe.server.card(DECLINED)
    job_id = job_queue.add_job(type="process_payment", payload=values(card))
    token = running_job.set(CurrentJob(job_id, "process_payment", 1, 6, lambda *_: None))
    try:
        for _ in range(2):
            with pytest.raises(CardDeclinedError):
                run(card)
            # The worker died before the job's end was recorded; that is a failure too, of another kind.
            execute(
                "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)"
                " VALUES (%s, 'process_payment', 1, 'WorkerLost', '', '')",
                job_id,
            )
        assert stripe.operations().count("confirm") == 1

        execute(
            "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)"
            " VALUES (%s, 'process_payment', 1, 'CardDeclinedError', '', '')",
            job_id,
        )
        with pytest.raises(CardDeclinedError):
            run(card)
        assert stripe.operations().count("confirm") == 2
    finally:
        running_job.reset(token)


@pytest.mark.parametrize("operation", ["create", "confirm"])
def test_after_a_time_out_stripe_is_asked_before_it_is_told_to_charge_again(
    stripe: StripeProxy, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = stripe.server.card()
    done, over = threading.Event(), threading.Event()

    def swallow(asked: Asked, answer: Answer) -> Answer:
        if asked.operation == operation:
            done.set()
            over.wait()
        return answer

    ask = StripePayments._ask

    def impatient(self: StripePayments, asked: str, request: Any) -> Any:
        # With this operation only: Stripe's answer to the one before may take its time.
        self._answer_seconds = 1.0 if asked == operation else stripe_payments.ANSWER_SECONDS
        return ask(self, asked, request)

    stripe.after = swallow
    monkeypatch.setattr(StripePayments, "_ask", impatient)
    with pytest.raises(StripeDownError, match=f"Stripe: {operation}: no answer within 1 s"):
        run(card)
    assert done.wait(PATIENCE)
    over.set()
    monkeypatch.undo()
    stripe.after = lambda asked, answer: answer
    asked_before = len(stripe.asked)

    run(card)

    assert len(stripe.server.charges()) == 1
    assert stripe.operations().count("confirm") == 1
    if operation == "confirm":
        assert stripe.operations()[asked_before:] == ["retrieve"]
    else:
        # Stripe would have given the same intent to the same key; another one is never confirmed.
        keys = {asked.headers["idempotency-key"] for asked in stripe.asked if asked.operation == "create"}
        assert len(keys) == 1
        assert sorted(intent["status"] for intent in stripe.server.intents()) == ["requires_confirmation", "succeeded"]


def test_cancelled_while_stripe_charges_the_row_says_that_it_was_paid(stripe: StripeProxy) -> None:
    card = stripe.server.card()
    here, go_on = threading.Event(), threading.Event()

    def hold(asked: Asked, answer: Answer) -> Answer:
        if asked.operation == "confirm":
            here.set()
            go_on.wait(60)
        return answer

    stripe.after = hold

    async def main() -> None:
        running = asyncio.create_task(job(card))
        await asyncio.to_thread(here.wait)
        running.cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert payment("status") == ("succeeded",)
    assert len(stripe.server.charges()) == 1


def test_of_eight_jobs_for_one_invoice_at_the_same_time_one_charges(
    stripe: StripeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who has waited so long is put off, and asks again later.
    monkeypatch.setattr(charging, "PATIENCE_SECONDS", PATIENCE)

    async def at_once() -> list[Any]:
        return await asyncio.gather(*(job(card) for card in cards))

    cards = [stripe.server.card() for _ in range(8)]

    results = asyncio.run(at_once())

    assert len(stripe.server.charges()) == 1
    assert sum("payment_intent" in result for result in results) == 1
    assert sum(result.get("skipped") == "already paid" for result in results) == 7


def test_a_job_that_waits_too_long_for_another_one_is_put_off(
    stripe: StripeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charging, "PATIENCE_SECONDS", 0.0)
    held = threading.Event()
    stripe.before = lambda asked: held.wait() and None
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, stripe.server.card())
        until(lambda: stripe.asked, what="the first job's request")
        with pytest.raises(Snooze, match="invoice 'i-1': another job is paying it"):
            run(stripe.server.card())
        held.set()
        assert "payment_intent" in first.result()
    assert len(stripe.server.charges()) == 1


@pytest.mark.parametrize("operation", ["create", "confirm"])
@pytest.mark.parametrize("other_card", [False, True])
def test_two_workers_whose_lock_broke_charge_once(stripe: StripeProxy, operation: str, other_card: bool) -> None:
    """The first one is held up in its request while the lock's connection is cut, and the second one goes ahead."""
    card = stripe.server.card()
    held, here = threading.Event(), threading.Event()

    def hold_the_first(asked: Asked) -> None:
        if asked.operation == operation and not here.is_set():
            here.set()
            held.wait()

    stripe.before = hold_the_first
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, card)
        assert here.wait(PATIENCE)
        locks = "FROM pg_stat_activity WHERE application_name = 'dirtfree-jobs-locks'"
        # That of the test before may be on its way out.
        until(lambda: len(rows(f"SELECT {locks}")) == 1, what="one connection for locks")
        assert rows(f"SELECT pg_terminate_backend(pid, 60000) {locks}") == [(True,)]
        second = run(stripe.server.card() if other_card else card)
        held.set()
        error = first.exception()

    assert "payment_intent" in second
    assert len(stripe.server.charges()) == 1
    assert payment("status", "payment_intent_id") == ("succeeded", second["payment_intent"])
    # With another card the first one's intent was canceled under its hands.
    assert error is None or (other_card and isinstance(error, PermanentError) and "canceled" in str(error))


def test_stripe_that_is_down_fails_the_attempt_and_the_next_one_charges(stripe: StripeProxy) -> None:
    card = stripe.server.card()
    stripe.stop()
    with pytest.raises(StripeDownError, match=r"Stripe: create: no answer from http://127.0.0.1:\d+: ConnectError"):
        run(card)
    stripe.start()
    run(card)

    assert len(stripe.server.charges()) == 1


@pytest.mark.usefixtures("prefect_api")
def test_payments_through_the_queue_with_a_worker_that_is_killed_and_a_stripe_that_goes_away(
    stripe: StripeProxy, database: str
) -> None:
    found = Rows(database)
    card = stripe.server.card()
    victim: list[Process] = []

    def kill(asked: Asked, answer: Answer) -> Answer:
        if asked.operation == "confirm" and victim:
            victim.pop().kill()
            raise Dropped
        return answer

    killed = job_queue.add_job(type="process_payment", payload=values(card))
    stripe.after = kill
    with worker("process_payment", STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url) as first:
        victim.append(first)
        until(lambda: not first.running, what="the worker's death")
    assert len(stripe.server.charges()) == 1
    assert payment("status") == ("unknown",)
    assert found.job(killed)["status"] == "processing"

    # While nobody works: eight jobs for one invoice, and what is to fail.
    same = [
        job_queue.add_job(type="process_payment", payload=values(stripe.server.card(), invoice_id="i-8"))
        for _ in range(8)
    ]
    declined = job_queue.add_job(
        type="process_payment", payload=values(stripe.server.card(DECLINED), invoice_id="i-declined")
    )
    hostile = job_queue.add_job(type="process_payment", payload=values(card, invoice_id="i-hostile"))
    careless = insert(job_type="process_payment", payload=f'{{"card": "{VISA}", "{VISA}": 1}}')
    lost = job_queue.add_job(type="process_payment", payload=values(card, invoice_id="i-lost"))
    lost_answers = iter([True])

    def answer(asked: Asked) -> Answer | None:
        if asked.form.get("metadata[invoice_id]") == "i-hostile":
            return Answer.error(402, "card_error", f"{VISA} is no good for {KEY}", code="card_declined")
        # Of the payment that was cut short, the first answer gets lost.
        if asked.operation == "retrieve" and next(lost_answers, False):
            raise Dropped
        return None

    stripe.before = answer
    execute("UPDATE workers SET beat_at = now() - interval '31 seconds'")
    with psycopg.connect(database, autocommit=True) as connection:
        rescue_lost_jobs(connection)
    stripe.stop()
    with worker("process_payment", STRIPE_API_KEY=KEY, STRIPE_API_BASE=stripe.url) as second:
        ready(second, found)
        until(lambda: found.one("SELECT held_reason FROM job_types WHERE job_type = 'process_payment'"), what="a hold")
        stripe.start()
        # The breaker is tried after 5 s, and after 10 s more should Stripe have come back too late for that.
        until(
            lambda: found.count("completed") == 10 and found.count("failed") == 3, seconds=150, what="the payments"
        )
        output = second.output

    paid = found.all("SELECT payment_intent_id FROM payments WHERE status = 'succeeded' ORDER BY 1")
    assert sorted(charge["payment_intent"] for charge in stripe.server.charges()) == [
        row["payment_intent_id"] for row in paid
    ]
    assert len(paid) == 3
    assert found.job(killed)["lost_count"] == 1
    assert sorted("payment_intent" in found.job(job_id)["result"] for job_id in same) == [False] * 7 + [True]
    assert found.job(lost)["status"] == "completed"
    assert found.one("SELECT count(*) FROM job_failures WHERE error_class = 'StripeDownError'") >= 5
    assert "the card was declined (card_declined)" in found.job(declined)["error_message"]
    for job_id in (declined, hostile):
        classes = [failure["error_class"] for failure in found.failures(job_id)]
        assert [name for name in classes if name != "StripeDownError"] == ["CardDeclinedError"]
    assert "no card number" in found.job(careless)["error_message"]
    # Nobody gets to read a card number or a key.
    told = found.all("SELECT message, traceback, fingerprint FROM job_failures")
    told += found.all("SELECT error_message, result::text FROM background_jobs")
    told += found.all("SELECT * FROM payments")
    texts = [output, *(str(value) for row in told for value in row.values())]
    assert not any(VISA in text or KEY in text for text in texts)
    assert not any(holds_card_number(row["error_message"]) for row in told if "error_message" in row)
    found.close()
