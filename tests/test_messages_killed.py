"""A worker that is killed after a message went out and before that was written down: once more at most, recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_appointment, add_customer, execute, rows
from http_server import Answer, Asked, HttpServer
from mail_server import MailServer

from flows.testing import run_due_jobs
from models import job_queue
from tests.support import job as row_of

ROOT = Path(__file__).resolve().parents[1]
#: What a worker does with what is due, in a process of its own.
CODE = "import sys\nfrom flows.testing import run_due_jobs\nrun_due_jobs(sys.argv[1])\n"

CASES = [
    ("send_reminder", "email", {"appointment_id": "planned"}),
    ("send_reminder", "sms", {"appointment_id": "planned"}),
    ("send_reminder", "webhook", {"appointment_id": "planned"}),
    ("send_review_request", "email", {"appointment_id": "done"}),
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
            NOTIFY_URLS=f"json://{web.host}/one",
            JOB_QUEUE_WEBHOOK_HOSTS=web.host,
        )
        yield mails, web


@pytest.mark.parametrize(("job_type", "channel", "payload"), CASES)
def test_killed_between_the_yes_and_its_record_it_goes_out_once_more_and_no_more(
    job_type: str, channel: str, payload: dict[str, Any], servers: tuple[MailServer, HttpServer]
) -> None:
    mails, web = servers
    add_customer()
    execute("UPDATE customers SET channel = %s, phone = '+14155550123', webhook_url = %s", channel, web.url)
    add_appointment("planned")
    add_appointment("done", status="completed")
    job_id = job_queue.add_job(type=job_type, payload=payload)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = threading.Event()

    def kill(asked: Asked | None = None) -> Answer:
        started.wait()
        os.kill(worker.pid, signal.SIGKILL)
        return Answer()

    mails.on_accepted, web.answer = kill, kill
    worker = subprocess.Popen([sys.executable, "-c", CODE, job_type], env=environment, cwd=ROOT)
    started.set()
    assert worker.wait(120) == -signal.SIGKILL
    assert row_of(job_id)["status"] == "processing"

    mails.on_accepted, web.answer = lambda: None, lambda asked: Answer()
    # Its lease has run out; two more rounds, the second of which finds nothing to send.
    for _ in range(2):
        execute(
            "UPDATE background_jobs SET status = 'pending', worker_id = NULL, started_at = NULL, completed_at = NULL"
        )
        run_due_jobs(job_type)

    assert row_of(job_id)["status"] == "completed"
    assert len(mails.received) + len(web.asked) == 2
    assert len({str(mail.message["Message-ID"]) for mail in mails.received}) <= 1
    assert len({asked.headers.get("webhook-id") for asked in web.asked}) <= 1
    assert len({json.dumps(json.loads(asked.body)) for asked in web.asked}) <= 1
    if job_type == "send_notification":
        assert rows("SELECT attempts, sent_at IS NOT NULL FROM notifications") == [(2, True)]
    else:
        assert rows("SELECT kind, sent_at IS NOT NULL FROM messages") == [(job_type, True)]
