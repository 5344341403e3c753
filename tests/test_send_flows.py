"""The schedules of reminders and review requests, as Prefect runs them: a rehearsal, then the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crm_rows import add_appointment, add_customer, rows
from mail_server import MailServer

from flows.send_reminders import send_reminders
from flows.send_review_requests import send_review_requests


@pytest.mark.usefixtures("database", "prefect_api")
def test_the_schedules_say_what_they_would_queue_and_then_see_it_through(configure: Any, tmp_path: Path) -> None:
    add_customer()
    add_appointment("planned")
    add_appointment("done", status="completed")
    with MailServer() as server:
        configure(JOB_QUEUE_DATA_DIR=tmp_path, SMTP_URL=server.url(), QUIET_HOURS="08:00-08:00")

        assert send_reminders(dry_run=True) == {"success": True, "dry_run": True, "would_queue": ["planned"]}
        assert send_review_requests(dry_run=True) == {"success": True, "dry_run": True, "would_queue": ["done"]}
        assert rows("SELECT FROM background_jobs") == []

        asked = send_review_requests(drain=False)
        reminded = send_reminders(limit=10, drain=True, drain_seconds=240)

        assert (asked["queued"], asked["summary"], reminded["queued"]) == (1, None, 1)
        assert reminded["summary"] is not None
        # The drain sees to all that is due.
        assert {str(mail.message["Subject"])[:8] for mail in server.received} == {"How did ", "Your app"}
    assert rows("SELECT DISTINCT status FROM background_jobs") == [("completed",)]
    assert send_reminders(drain=False)["queued"] == 0
    assert send_review_requests(drain=False)["queued"] == 0
