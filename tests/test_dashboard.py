"""Every page of the dashboard with nothing in the queue, and with a little; and what can be done there."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from dashboard import answers, data
from dashboard.components import history
from models import database as db
from models import job_queue, lookup, metrics, passwords, registry
from models.filters import JobFilter
from models.jobs import JobStatus
from models.rollup import RollUp
from models.spreadsheet import csv_bytes
from tests import support
from tests.pages import PAGES, choose, click, open_page, run, texts

pytestmark = pytest.mark.usefixtures("database", "nothing_cached")


def _failed(message: str = "the mail server is away", jobs: int = 1, group: str = "note:Error:away") -> list[str]:
    found = []
    for _ in range(jobs):
        job_id = support.insert(
            status="failed", completed_at="now", error_message=message, fingerprint=group, retry_count=3, payload="{}"
        )
        support.query(
            "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, traceback, fingerprint)"
            " VALUES (%s, 'note', 4, 'OSError', %s, 'Traceback: line 7', %s)",
            job_id, message, group,
        )  # fmt: skip
        found.append(job_id)
    return found


def _declared() -> None:
    registry.declare({"note": support.job_type(description="Keeps a `note`. In a drawer.")})


def _ended(completed: int, failed: int, *, minutes_ago: int = 120) -> None:
    roll_up = RollUp("worker-1")
    for event, jobs in (("completed", completed), ("failed", failed)):
        for _ in range(jobs):
            roll_up.attempt("note", 5, event, waited=1.0, ran=0.2)
    with db.transaction() as connection:
        roll_up.write(connection)
        connection.execute("UPDATE job_metrics SET bucket = bucket - %s * interval '1 minute'", [minutes_ago])


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_queue(name: str) -> None:
    assert open_page(name).title[0].value


def test_an_empty_queue_is_healthy_and_says_what_to_do_next() -> None:
    page = texts(open_page("overview"))
    assert "Healthy" in page
    assert "add a job on the Queue page" in page


def test_an_empty_queue_has_no_empty_charts_and_no_forms_without_a_type() -> None:
    page = open_page("queue")
    assert not page.get("plotly_chart")
    assert [each.value for each in page.subheader] == ["By type and priority", "Due next", "Job types"]


def test_pages_without_jobs_say_where_to_find_some() -> None:
    assert "No job has ended yet" in texts(open_page("history"))
    assert "No finished job passes these filters" in texts(open_page("history", text="x"))
    assert "choose a row on the History page" in texts(open_page("job"))


def test_an_idle_queue_without_a_worker_says_how_to_start_one() -> None:
    assert "No worker runs; to start one: `jobs worker`" in texts(open_page("overview"))


def test_waiting_jobs_without_a_worker_are_said_first() -> None:
    support.insert()
    page = open_page("overview")
    verdict = next(each.value for each in page.markdown if each.value.startswith("####"))
    assert "1 job waits and no worker runs" in verdict


def test_the_overview_compares_with_the_period_before() -> None:
    _ended(30, 10)
    page = open_page("overview")
    figures = {metric.label: metric for metric in page.metric}
    assert figures["Success rate"].value == "75.0%"
    assert figures["Completed"].value == "30"
    assert "before 0" in figures["Completed"].proto.delta_description
    assert len(page.get("plotly_chart")) == 4


def test_what_has_just_failed_is_in_the_verdict_and_the_figures_though_its_minute_still_runs() -> None:
    _ended(0, 12, minutes_ago=0)
    page = open_page("overview")
    (finding,) = [each.value for each in page.markdown if each.value.startswith("####")]
    assert "`note` fails: 12 of 12 jobs (100%) in the last 15 min" in finding
    figures = {metric.label: metric.value for metric in page.metric}
    assert (figures["Failed"], figures["Success rate"], figures["p95 time"]) == ("12", "0%", "197 ms")
    assert "did so within the last hour" in texts(page) and "Nothing has ended" not in texts(page)


def test_jobs_of_the_hour_under_way_are_not_drawn_by_the_hour_but_told(monkeypatch: pytest.MonkeyPatch) -> None:
    half_past = metrics.database_now().replace(minute=30, second=30) - timedelta(hours=1)
    monkeypatch.setattr(metrics, "database_now", lambda: half_past)
    _ended(30, 10, minutes_ago=0)
    support.query("UPDATE job_metrics SET bucket = %s", half_past.replace(minute=20, second=0, microsecond=0))

    page = open_page("overview")

    assert "did so within the last hour. Charts show each hour when it is over" in texts(page)
    assert not page.get("plotly_chart")
    assert page.dataframe[0].value["completed"].tolist() == [30]
    page.segmented_control(key="period").set_value("1h")
    assert len(run(page).get("plotly_chart")) == 4


def test_filters_come_from_the_url() -> None:
    _declared()
    _failed()
    page = open_page("failed", text="no such text")
    assert page.text_input(key="text").value == "no such text"
    assert "No failed job passes these filters" in texts(page)
    assert "**1 job** failed" in texts(open_page("failed", type="note"))


def test_a_url_that_makes_no_sense_shows_the_page_all_the_same() -> None:
    _failed()
    place = {"period": "a year", "type": "<script>", "priority": "99", "text": "\x00", "status": "x", "since": "'"}
    for name in ("overview", "failed", "history"):
        open_page(name, **place, after="no cursor", group="no group", id="\x00")
    assert "no job of that id" in texts(open_page("job", id="\x00"))


def test_times_in_words_say_utc_on_hover_and_are_utc_at_a_switch() -> None:
    (job_id,) = _failed()
    support.query("UPDATE background_jobs SET completed_at = '2020-01-15 11:00:05+00'")
    page = open_page("failed")
    (facts,) = [each for each in page.markdown if "15 Jan 2020 12:00:05" in each.value]
    assert "2020-01-15 11:00:05 UTC" in facts.proto.help
    page.toggle(key="utc").set_value(True)
    assert "15 Jan 2020 11:00:05" in texts(run(page))
    assert "utc" not in [each.key for each in open_page("failed", zone="UTC").toggle], "nothing to switch"


def test_a_chosen_failed_job_is_retried_and_taken_back() -> None:
    first, second = _failed(jobs=2)
    page = open_page("failed", group="note:Error:away")
    assert "Traceback" not in texts(page)
    newest = page.dataframe[0].value["id"].iloc[0]
    choose(page, "failed_jobs", [0])
    assert page.session_state["held"], "nothing is refreshed while rows are chosen"
    assert [each.label for each in page.expander] == ["Traceback"]
    click(page, "retry_chosen")
    assert "1 retried" in texts(page)
    statuses = {job_id: support.job(job_id)["status"] for job_id in (first, second)}
    assert statuses == {job_id: "pending" if job_id == newest else "failed" for job_id in (first, second)}
    click(page, "undo")
    assert support.job(newest)["status"] == "failed"
    assert not page.session_state["held"]


def test_a_row_stays_the_job_it_was_when_it_was_chosen() -> None:
    (chosen,) = _failed()
    page = open_page("failed", group="note:Error:away")
    # Newer ones push it down while the viewer looks at it.
    _failed(jobs=3)
    answers.forget()
    choose(page, "failed_jobs", [0])
    click(page, "retry_chosen")
    assert support.job(chosen)["status"] == "pending"
    assert support.value("SELECT count(*) FROM background_jobs WHERE status = 'failed'") == 3


def test_a_stale_page_does_no_harm() -> None:
    (job_id,) = _failed()
    page = open_page("failed", group="note:Error:away")
    choose(page, "failed_jobs", [0])
    assert job_queue.retry_job(job_id)
    click(page, "retry_chosen")
    assert "0 retried, 1 was already waiting" in texts(page)


def test_all_of_a_group_are_retried_after_the_number_is_shown() -> None:
    _failed(jobs=3)
    others = _failed("something else", group="note:Error:else")
    page = open_page("failed")
    assert "**4 jobs** failed with **2 errors**" in texts(page)
    click(page, "retry_note_Error_away")
    assert "**3 jobs** with 1 error go back" in texts(page)
    assert page.session_state["open_dialog"], "nothing is refreshed while a dialog is open"
    page.selectbox(key="bulk_rate").set_value(50)
    run(page)
    click(page, "bulk_yes")
    assert "The retry has begun, 50 a second" in texts(page)
    _wait_for("SELECT count(*) FROM bulk_actions WHERE state = 'done'", 1)
    assert [support.job(job_id)["status"] for job_id in others] == ["failed"]
    answers.forget()
    run(page)
    assert "**Retry done**: 3 of 3 put back" in texts(page)


def test_running_jobs_are_cancelled_only_after_a_second_click() -> None:
    support.worker_row("worker-1")
    job_id = support.held_by("worker-1")
    page = open_page("active")
    choose(page, "active_jobs", [0])
    click(page, "cancel")
    assert support.job(job_id)["status"] == "processing"
    click(page, "cancel_yes")
    assert support.job(job_id)["status"] == "cancelled"
    assert "1 cancelled" in texts(page)


def test_a_silent_worker_and_its_jobs_are_marked() -> None:
    support.worker_row("worker-1", beat_age=60)
    support.held_by("worker-1", age=70)
    page = open_page("active")
    assert page.dataframe[0].value["mark"].iloc[0] == ["heartbeat lost"]
    assert page.dataframe[1].value["state"].iloc[0] == "silent"
    assert "1 worker is silent; its 1 job" in texts(open_page("overview"))


def test_what_a_job_type_does_is_said_without_the_marks_of_its_docstring() -> None:
    _declared()
    assert list(open_page("queue").dataframe[0].value["what"]) == ["Keeps a “note”"]


def test_a_job_type_is_paused_limited_and_resumed() -> None:
    _declared()
    support.insert()
    page = open_page("queue")
    click(page, "pause")
    assert "The 1 that wait" in texts(page)
    click(page, "pause_yes")
    assert support.value("SELECT paused FROM job_types") is True
    page.number_input(key="max_running_note").set_value(7)
    page.form_submit_button[0].click()
    run(page)
    assert support.query("SELECT max_running, starts_per_second FROM job_types") == [(7, None)]
    click(page, "resume")
    assert support.value("SELECT paused FROM job_types") is False
    assert "note resumed" in texts(page)


def test_a_link_to_one_type_is_followed_once_and_one_to_no_type_is_not() -> None:
    _declared()
    support.query("INSERT INTO job_types (job_type) VALUES ('alone')")
    page = open_page("queue", only="note")
    assert page.selectbox(key="job_type").value == "note"
    assert "only" not in page.query_params
    page.selectbox(key="job_type").select("alone")
    run(page)
    assert page.selectbox(key="job_type").value == "alone"
    assert open_page("failed", only="note").multiselect(key="type").value == ["note"]
    assert open_page("failed", only="<b>nobody's</b>").multiselect(key="type").value == []


def test_a_hold_says_why_and_until_when() -> None:
    _declared()
    support.query("UPDATE job_types SET held_until = now() + interval '40 s', held_reason = 'smtp: <b>down</b>'")
    page = open_page("queue")
    assert "by its circuit breaker" in texts(page)
    assert "smtp: <b>down</b>" in [each.value for each in page.code]


def test_a_job_is_added_by_the_form_of_its_payload() -> None:
    _declared()
    page = open_page("queue")
    page.text_input(key="add_job_note_text").set_value("from the form")
    page.number_input(key="add_job_note_copies").set_value(3)
    page.number_input(key="add_priority").set_value(9)
    page.form_submit_button[1].click()
    run(page)
    (job,) = lookup.newest_jobs()
    found = lookup.find_job(job.id)
    assert found is not None and found.payload == {"text": "from the form", "copies": 3} and found.priority == 9
    assert job.id in texts(page)


def test_what_the_door_refuses_is_said_at_the_form_and_nothing_is_stored() -> None:
    _declared()
    page = open_page("queue")
    page.text_input(key="add_job_note_text").set_value("a NUL \x00 in it")
    page.form_submit_button[1].click()
    run(page)
    assert "expected" in page.error[0].value
    assert page.text_input(key="add_job_note_text").value == "a NUL \x00 in it"
    assert lookup.newest_jobs() == []


def test_the_job_page_tells_its_story_with_secrets_masked() -> None:
    (job_id,) = _failed()
    support.query("UPDATE background_jobs SET payload = '{\"cardNumber\": \"4242\", \"text\": \"x\"}'")
    page = open_page("job", id=job_id)
    everything = texts(page) + "".join(each.value for each in page.code)
    assert "attempt 4 failed for good: `OSError`" in everything
    assert '"cardNumber": "***"' in everything and "4242" not in everything
    click(page, "retry_job")
    assert support.job(job_id)["status"] == "pending"
    answers.forget()
    assert "`retry` by" in texts(run(page))


def test_history_is_paged_and_a_chosen_row_opens_the_job() -> None:
    ids = [
        support.insert(status=str(JobStatus.COMPLETED), completed_at="now", started_at="now") for _ in range(30)
    ]
    page = open_page("history")
    first = list(page.dataframe[0].value["added"])
    click(page, "page_older")
    assert len(page.dataframe[0].value) == 5
    assert max(page.dataframe[0].value["added"]) <= min(first)
    click(page, "page_newer")
    assert list(page.dataframe[0].value["added"]) == first
    assert len(ids) == 30


def test_the_csv_holds_the_filtered_set_and_no_formula() -> None:
    support.insert(status="failed", completed_at="now", error_message='=HYPERLINK("http://evil.example")')
    support.insert(status="completed", completed_at="now", started_at="now")
    rows = csv_bytes(data.export(JobFilter(statuses=("failed",)), history.COLUMNS)).decode().splitlines()
    assert len(rows) == 2
    assert "'=HYPERLINK" in rows[1]
    assert "payload" not in rows[0]


def test_nobody_acts_who_is_not_signed_in(configure: Any) -> None:
    (job_id,) = _failed()
    _declared()
    page = open_page("job", id=job_id)
    configure(DASHBOARD_PASSWORD_HASH=passwords.password_hash("a long password of ours"))
    page.button(key="retry_job").click()
    page.run()
    assert support.job(job_id)["status"] == "failed"


def test_without_prefect_the_page_says_where_it_was_looked_for() -> None:
    page = texts(open_page("schedules"))
    assert "Prefect does not answer at `http://127.0.0.1:" in page
    assert "make up" in page


def test_a_panel_that_cannot_be_read_shows_its_last_answer_and_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    _failed()
    page = open_page("failed")
    assert "**1 job** failed" in texts(page)
    # The answer is kept; the database is really gone for the next read.
    monkeypatch.setattr(answers, "PAUSE_SECONDS", 0.0)
    support.query("ALTER TABLE job_failures RENAME TO gone")
    try:
        answers.refresh()
        run(page)
        assert "stale since" in texts(page)
        assert "**1 job** failed" in texts(page)
    finally:
        support.query("ALTER TABLE gone RENAME TO job_failures")


def _wait_for(sql: str, expected: int) -> None:
    deadline = time.monotonic() + 30
    while support.value(sql) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert support.value(sql) == expected
