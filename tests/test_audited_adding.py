"""Who added jobs by hand or over HTTP is in the audit log; what the product's own code adds is nobody's action."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_server import TOKENS, VIEWER, client, serving
from support import insert, job, job_type, known, query
from test_cli import Jobs

from dashboard import access, answers
from models import adding, job_queue, listing, operations, registry
from models.roles import Actor, system_user
from tests.pages import open_page, run, texts

API = "API, ADMIN_API_TOKEN"


@pytest.fixture(autouse=True)
def _types(database: str, configure: Any) -> Iterator[None]:
    configure(**TOKENS)
    answers.forget()
    types = {name: job_type(name) for name in ("note", "letter")}
    with known(*types.values()):
        registry.declare(types)
        yield


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def operator(url: str) -> Iterator[httpx.Client]:
    with client(url) as found:
        yield found


def _audited() -> list[tuple[Any, ...]]:
    return query("SELECT who, action, target, detail FROM audit_log ORDER BY id")


def test_a_job_added_over_http_is_in_the_log_without_its_payload(operator: httpx.Client) -> None:
    sent = {"type": "note", "payload": {"text": "sesame"}, "uniqueKey": "k-1"}
    job_id = operator.post("/jobs", json=sent).json()["id"]
    assert _audited() == [(API, "add", job_id, {"jobs": 1, "types": {"note": 1}})]
    # Nothing is new, so nothing was done.
    assert operator.post("/jobs", json=sent).json() == {"id": job_id, "added": False}
    assert len(_audited()) == 1


def test_many_are_one_entry_that_each_of_their_pages_shows(operator: httpx.Client) -> None:
    operator.post("/jobs", json={"type": "note", "uniqueKey": "taken"})
    sent = [{"type": "note", "uniqueKey": "taken"}, {"type": "note"}, {"type": "letter"}, {"type": "letter"}]
    ids = [each["id"] for each in operator.post("/jobs", json=sent).json()["jobs"]]
    assert _audited()[1:] == [(API, "add", ids[1], {"jobs": 3, "types": {"letter": 2, "note": 1}})]
    for job_id in ids[1:]:
        assert f"`add` by `{API}`, with 2 more" in texts(open_page("job", id=job_id))
    answers.forget()
    assert "with 2 more" not in texts(open_page("job", id=ids[0]))
    assert len(listing.audit_of(ids[0])) == len(listing.audit_of(ids[1])) == 1


def test_what_is_refused_leaves_no_entry(operator: httpx.Client, url: str) -> None:
    assert operator.post("/jobs", json=[{"type": "note"}, {"type": "nonsense"}]).status_code == 422
    with client(url, VIEWER) as viewer:
        assert viewer.post("/jobs", json={"type": "note"}).status_code == 403
    with pytest.raises(PermissionError):
        operations.add_jobs([{"type": "note"}], Actor("vera"))
    assert _audited() == [] and query("SELECT FROM background_jobs") == []


def test_an_entry_and_its_jobs_stand_or_fall_together(operator: httpx.Client) -> None:
    query("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
    try:
        assert operator.post("/jobs", json={"type": "note"}).status_code >= 500
    finally:
        query("ALTER TABLE audit_log DROP CONSTRAINT full_disk")
    assert query("SELECT FROM background_jobs") == []


def test_a_job_added_by_the_form_is_in_the_log_and_on_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "visitor", lambda cookies: Actor("ann", "operator"))
    page = open_page("queue")
    page.selectbox(key="add_type").select("note")
    run(page)
    page.text_input(key="add_job_note_text").set_value("sesame")
    page.form_submit_button[1].click()
    run(page)
    ((job_id,),) = query("SELECT id FROM background_jobs")
    assert job(job_id)["payload"]["text"] == "sesame"
    assert _audited() == [("ann", "add", job_id, {"jobs": 1, "types": {"note": 1}})]
    assert "`add` by `ann`" in texts(open_page("job", id=job_id))


def test_a_job_added_by_the_command_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs(capsys)
    assert jobs("add", "note", "--payload", '{"text": "sesame"}', "--json") == 0
    assert _audited() == [(system_user(), "add", jobs.json["id"], {"jobs": 1, "types": {"note": 1}})]
    assert jobs("add", "note", "--priority", "11") == 1
    assert "job 0" not in jobs.err and "priority" in jobs.err
    assert len(_audited()) == 1


def test_what_code_and_plain_sql_add_is_nobodys_action() -> None:
    job_queue.add_job(type="note")
    job_queue.add_batch([{"type": "note"}, {"type": "note"}])
    adding.add_jobs([{"type": "note"}])
    insert()
    assert _audited() == []
