"""Jobs over HTTP: adding one or many, listing, one in full, cancelling."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pytest
from api_server import TOKENS, client, serving
from pydantic import BaseModel, SecretStr
from support import at_once, insert, job, job_type, known, query, value

from models import door, registry

pytestmark = pytest.mark.usefixtures("tokens")


class Keys(BaseModel):
    name: str
    door_code: SecretStr


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def tokens(database, configure) -> Iterator[None]:
    configure(**TOKENS)
    with known(job_type(max_retries=4)):
        yield


@pytest.fixture
def operator(url: str) -> Iterator[httpx.Client]:
    with client(url) as found:
        yield found


# ---- adding


def test_one_job_is_added_with_all_that_was_said(operator: httpx.Client) -> None:
    answer = operator.post(
        "/jobs",
        json={
            "type": "note", "payload": {"text": "h\u00e4"}, "priority": 9, "maxRetries": 0,
            "scheduledFor": "2030-01-01T01:00:00+01:00", "uniqueKey": "k",
        },
    )  # fmt: skip
    assert answer.status_code == 201
    found = job(answer.json()["id"])
    assert found["payload"] == {"text": "h\u00e4"}
    assert (found["priority"], found["max_retries"], found["unique_key"]) == (9, 0, "k")
    assert found["scheduled_for"].isoformat(timespec="minutes").startswith("2030-01-01T00:00")


def test_what_is_left_out_is_the_types_own(operator: httpx.Client) -> None:
    found = job(operator.post("/jobs", json={"type": "note"}).json()["id"])
    assert (found["payload"], found["priority"], found["max_retries"]) == ({}, 5, 4)


def test_many_are_added_and_answered_in_order(operator: httpx.Client) -> None:
    answer = operator.post("/jobs", json=[{"type": "note", "priority": number} for number in range(1, 11)])
    assert (answer.status_code, answer.json()["added"]) == (201, 10)
    assert [job(each["id"])["priority"] for each in answer.json()["jobs"]] == list(range(1, 11))


def test_a_unique_key_may_be_sent_again_and_again(operator: httpx.Client) -> None:
    first = operator.post("/jobs", json={"type": "note", "uniqueKey": "k"})
    again = operator.post("/jobs", json={"type": "note", "uniqueKey": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {"id": first.json()["id"], "added": False}
    mixed = operator.post("/jobs", json=[{"type": "note", "uniqueKey": "k"}, {"type": "note"}])
    assert [each["added"] for each in mixed.json()["jobs"]] == [False, True]


def test_of_many_at_once_with_the_same_key_one_is_new(url: str) -> None:
    def send(_: int) -> bool:
        with client(url) as sending:
            return bool(sending.post("/jobs", json={"type": "note", "uniqueKey": "k"}).json()["added"])

    assert sum(at_once(8, send)) == 1
    assert value("SELECT count(*) FROM background_jobs") == 1


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"type": "nonsense"}, "type: expected one of"),
        ({"type": "note", "payload": {"texts": "x"}}, "payload does not fit note: texts"),
        ({"type": "note", "payload": {"text": "\x00"}}, "no NUL characters"),
        ({"type": "note", "uniqueKey": "\u00e4" * 400}, "at most 500 bytes"),
    ],
)
def test_what_cannot_become_a_job_is_refused_with_the_reason(operator: httpx.Client, sent, said: str) -> None:
    answer = operator.post("/jobs", json=sent)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert "job 0" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({}, "body.type"), ({"type": 7}, "body.type"), ({"type": "note", "priority": 11}, "body.priority"),
        ({"type": "note", "priority": "5"}, "body.priority"), ({"type": "note", "priority": True}, "body.priority"),
        ({"type": "note", "payload": []}, "body.payload"), ({"type": "note", "max_retries": 1}, "body.max_retries"),
        ({"type": "note", "scheduledFor": "2030-01-01T00:00:00"}, "body.scheduledFor"),
        ({"type": "note", "scheduledFor": 1893456000}, "body.scheduledFor"),
        ({"type": "note", "scheduledFor": "1893456000"}, "body.scheduledFor"),
        ({"type": "note", "scheduledFor": "0001-01-01T00:00:00+23:00"}, "body.scheduledFor"),
        ([{"type": "note"}, {"type": "note", "priority": 0}], "body.1.priority"), ([], "body"),
    ],
)  # fmt: skip
def test_each_wrong_value_is_named(operator: httpx.Client, sent, where: str) -> None:
    answer = operator.post("/jobs", json=sent)
    assert answer.status_code == 422
    assert where in [error["where"] for error in answer.json()["errors"]]


def test_all_or_none_are_added(operator: httpx.Client) -> None:
    answer = operator.post("/jobs", json=[{"type": "note"}, {"type": "nonsense"}])
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("job 1: type: expected one of")
    assert value("SELECT count(*) FROM background_jobs") == 0


# ---- listing


def walk(client_: httpx.Client, **params) -> list[str]:
    ids, cursor, pages = [], None, 0
    while True:
        page = client_.get("/jobs", params={**params, **({"cursor": cursor} if cursor else {})}).json()
        ids += [each["id"] for each in page["jobs"]]
        cursor, pages = page["nextCursor"], pages + 1
        if cursor is None:
            return ids
        assert pages < 200


def test_a_walk_by_cursor_meets_every_job_once_newest_first(operator: httpx.Client) -> None:
    query(
        "INSERT INTO background_jobs (job_type, created_at) SELECT 'note', now() - (n / 40) * interval '1 second'"
        " FROM generate_series(0, 399) AS n ORDER BY random()"
    )
    # Progress reports move a row within its page, behind its place in the index.
    query("UPDATE background_jobs SET progress = 0.5 WHERE random() < 0.4")

    ids = walk(operator, limit=7)

    assert len(ids) == len(set(ids)) == 400
    created = [job(each)["created_at"] for each in ids]
    assert created == sorted(created, reverse=True)


def test_a_walk_meets_every_job_that_was_there_while_others_come_and_change(operator: httpx.Client) -> None:
    query("INSERT INTO background_jobs (job_type) SELECT 'note' FROM generate_series(1, 100)")
    before = {row[0] for row in query("SELECT id FROM background_jobs")}
    ids: list[str] = []
    cursor = None
    while True:
        page = operator.get("/jobs", params={"limit": 9, **({"cursor": cursor} if cursor else {})}).json()
        ids += [each["id"] for each in page["jobs"]]
        query("UPDATE background_jobs SET status = 'processing', started_at = now(), progress = random()")
        insert()
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert len(ids) == len(set(ids))
    assert before <= set(ids)


def test_filters_narrow_and_go_together(operator: httpx.Client) -> None:
    urgent = insert(priority=9, payload='{"customer": "Ada_1"}')
    insert(priority=9, job_type="other")
    insert(priority=3)
    failed = insert(status="failed", error_message="100% wrong")
    query("UPDATE background_jobs SET completed_at = now() WHERE id = %s", failed)
    old = insert()
    query("UPDATE background_jobs SET created_at = '2026-01-05T12:00Z' WHERE id = %s", old)

    assert walk(operator, priority=9, type="note") == [urgent]
    assert walk(operator, text="ada_1") == [urgent]
    assert walk(operator, text="100%", status="failed") == [failed]
    assert walk(operator, text="%") == [failed]
    assert walk(operator, since="2026-01-05T00:00:00Z", until="2026-01-06T00:00:00Z") == [old]
    assert len(walk(operator, status=["pending", "failed"])) == 5
    assert walk(operator, status="cancelled") == []


def forged(*parts) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0}, {"limit": 201}, {"limit": "9" * 5000}, {"status": "lost"}, {"priority": 11}, {"priority": "x"},
        {"since": "yesterday"}, {"since": "2026-01-01"}, {"until": "0.5"},
        {"since": "2026-01-02T00:00Z", "until": "2026-01-01T00:00Z"},
        {"text": "\x00"}, {"type": "\x00"}, {"text": "x" * 501}, {"cursor": "nonsense"}, {"cursor": ""},
        {"cursor": "W1tbW1tbW1tb" * 80}, {"cursor": "\U0001f600"}, {"cursor": "MTIz"},
        {"cursor": forged("completed_at", "2026-01-01T00:00:00Z", "x")}, {"cursor": forged("created_at", 7, "x")},
        {"cursor": forged("created_at", "0001-01-01T00:00:00+23:00", "x")},
        {"cursor": forged("created_at", "2026-01-01T00:00:00Z", "\x00")}, {"cursor": forged("created_at", None, None)},
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(operator: httpx.Client, params) -> None:
    answer = operator.get("/jobs", params=params)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"


# ---- one


def test_a_job_is_shown_in_full_with_its_secrets_masked(operator: httpx.Client) -> None:
    keys = job_type("open_door", payload=Keys)
    registry.declare({"open_door": keys})
    job_id = insert(
        job_type="open_door", status="failed", payload='{"name": "n", "door_code": "1234", "nested": {"apiKey": "s"}}',
        result='{"receipt": 1, "token": "s"}', error_message="boom",
    )  # fmt: skip
    query(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)"
        " VALUES (%s, 'open_door', 1, 'ValueError', 'boom', 'f')",
        job_id,
    )
    found = operator.get(f"/jobs/{job_id}").json()
    assert found["payload"] == {"name": "n", "door_code": "***", "nested": {"apiKey": "***"}}
    assert found["result"] == {"receipt": 1, "token": "***"}
    assert [(each["attempt"], each["errorClass"]) for each in found["failedAttempts"]] == [(1, "ValueError")]
    assert (found["type"], found["status"], found["errorMessage"]) == ("open_door", "failed", "boom")


def test_a_job_of_plain_sql_is_shown_whatever_it_holds(operator: httpx.Client) -> None:
    for payload in ('{"a": ' * 600 + "1" + "}" * 600, '{"a": 1e400, "b": %s}' % ("9" * 5000), '{"a": "\U0001f600"}'):
        job_id = insert(payload=payload, progress="NaN")
        for path in (f"/jobs/{job_id}", "/jobs"):
            answer = operator.get(path)
            assert answer.status_code == 200
            # Python writes what JSON does not know; others could not read it.
            assert "NaN" not in answer.text and "Infinity" not in answer.text


@pytest.mark.parametrize("path", ["/jobs/none", "/jobs/%00", "/jobs/%ED%A0%80", "/jobs/..%2f..", "/jobs/%F0%9F%98%80"])
def test_a_job_that_is_not_there_is_404(operator: httpx.Client, path: str) -> None:
    assert operator.get(path).status_code == 404
    assert operator.post(f"{path}/cancel").status_code == 404


def test_a_waiting_job_is_cancelled_once_and_the_log_says_by_whom(operator: httpx.Client) -> None:
    job_id = insert()
    assert operator.post(f"/jobs/{job_id}/cancel").json() == {"success": True, "jobId": job_id}
    again = operator.post(f"/jobs/{job_id}/cancel")
    assert again.status_code == 409
    assert "got one that is cancelled" in again.json()["detail"]
    assert query("SELECT who, action FROM audit_log") == [("API, ADMIN_API_TOKEN", "cancel")]


def test_declared_types_are_known_without_their_code(operator: httpx.Client) -> None:
    registry.declare({"elsewhere": job_type("elsewhere")})
    door.forget_declared_types()
    assert operator.post("/jobs", json={"type": "elsewhere"}).status_code == 201
