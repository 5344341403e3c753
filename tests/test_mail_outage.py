"""The mail server goes away under load and comes back; types are paused and resumed meanwhile: as a worker lives it."""

from __future__ import annotations

import asyncio
import time

import pytest
from crm_rows import add_promotion, execute
from mail_server import MailServer
from running import Rows, ready, until, worker

from models import job_queue

pytestmark = pytest.mark.usefixtures("database", "prefect_api")

OUTAGE_SECONDS = 20.0
MAILS = 600


def test_twenty_seconds_without_the_mail_server_cost_few_attempts_and_no_mail(database: str) -> None:
    rows = Rows(database)
    execute(
        "INSERT INTO customers (id, name, email) SELECT 'c' || n, 'Anna', 'c' || n || '@example.com'"
        " FROM generate_series(1, %s) AS n",
        MAILS,
    )
    add_promotion()
    server = MailServer().start()
    try:
        server.on_recipient = _slowly
        with worker(SMTP_URL=server.url()) as child:
            ready(child, rows)
            job_queue.add_batch(
                {"type": "send_promotion", "payload": {"customer_id": f"c{n}", "promotion_id": "p1"}}
                for n in range(1, MAILS + 1)
            )
            until(lambda: len(server.received) > 50, what="the first mails")
            server.stop()
            away_since = time.monotonic()
            reason = until(
                lambda: rows.one("SELECT held_reason FROM job_types WHERE job_type = 'send_promotion'"), what="the hold"
            )
            assert reason.startswith("smtp is not answering: SMTP server 127.0.0.1")
            time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - away_since)))
            assert rows.count("completed") < MAILS
            server.start()
            until(lambda: rows.count("completed") == MAILS, seconds=200, what="all mails")

        recipients = [mail.recipients[0] for mail in server.received]
        assert len(set(recipients)) == MAILS
        # Broken off between the server's yes and our note of it, a mail may go out once more: one a connection.
        assert len(recipients) <= MAILS + 5
        spent = rows.one("SELECT count(*) FROM job_failures")
        assert spent < 20
        assert rows.one("SELECT count(*) FROM background_jobs WHERE retry_count > 3") == 0
        assert rows.one("SELECT sum(snoozed) FROM job_metrics") > 0
        assert rows.one("SELECT breaker FROM services WHERE service = 'smtp'") == "closed"
        assert rows.one("SELECT held_until FROM job_types WHERE job_type = 'send_promotion'") is None
    finally:
        server.stop()
        rows.close()


#: Of the naps that have ended, the most that ran when one of them began.
_MOST_AT_ONCE = """
WITH ended AS (SELECT started_at, completed_at FROM background_jobs WHERE status = 'completed' AND job_type = 'nap')
SELECT max(beside.naps)
FROM ended AS one
CROSS JOIN LATERAL (
    SELECT count(*) AS naps FROM ended AS other
    WHERE other.started_at <= one.started_at AND one.started_at < other.completed_at
) AS beside
"""


async def _slowly(envelope: object) -> None:
    await asyncio.sleep(0.02)


def test_a_pause_and_a_limit_hold_at_once_for_a_running_worker(samples: Rows) -> None:
    samples.all("INSERT INTO job_types (job_type, paused) VALUES ('nap', true)")
    ids = job_queue.add_batch([{"type": "nap", "payload": {"seconds": 0.2}} for _ in range(12)])
    # So long a poll interval that nothing but the notification can be what wakes it.
    with worker(JOB_QUEUE_POLL_INTERVAL="600000") as child:
        ready(child, samples)
        done = job_queue.add_job(type="effect")
        until(lambda: samples.job(done)["status"] == "completed", what="the type that is not paused")
        assert samples.count("pending", "nap") == 12

        samples.all("UPDATE job_types SET paused = false, max_running = 2 WHERE job_type = 'nap'")
        until(lambda: samples.count("completed", "nap") >= 4, what="the first naps, within the limit")
        assert samples.one(_MOST_AT_ONCE) == 2
        samples.all("UPDATE job_types SET max_running = NULL WHERE job_type = 'nap'")
        until(lambda: samples.count("completed", "nap") == 12, what="the rest, without the limit")
    assert {samples.job(job_id)["status"] for job_id in ids} == {"completed"}
