"""The text filter finds what a payload shows, and nothing of what is masked in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_server import TOKENS, VIEWER, client, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel
from support import insert, job_type, known, query

from dashboard import answers
from models import bulk, error_groups, listing, lookup, registry
from models.filters import JobFilter
from models.masking import masked
from models.roles import Actor
from tests.pages import open_page, texts


class Inner(BaseModel):
    shown: str = ""
    hidden: SecretStr = SecretStr("")


class Door(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    house: str = ""
    door_code: SecretStr = SecretStr("")
    inside: Inner | None = None
    several: list[Inner] = []
    by_name: dict[str, Inner] = {}


class Charge(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    invoice_id: str = ""
    note: str = ""


class Secrets(BaseModel):
    """Whatever it has beside its names is secret."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, SecretStr] = Field(init=False)

    shown: str = ""


TYPES = {"open_door": Door, "charge": Charge, "keep_secrets": Secrets}


@pytest.fixture(autouse=True)
def _types(database: str, configure: Any) -> Iterator[None]:
    configure(**TOKENS)
    answers.forget()
    types = {name: job_type(name, payload=payload) for name, payload in TYPES.items()}
    with known(*types.values()):
        registry.declare(types)
        yield


@pytest.fixture
def reader() -> Iterator[httpx.Client]:
    """Somebody with the token that only looks."""
    with serving() as url, client(url, VIEWER) as found:
        yield found


def _found(text: str) -> list[str]:
    return list(listing.page(JobFilter(text=text)).frame["id"])


SECRET = [
    ("note", {"apiToken": "MARK"}),
    ("note", {"to\u212aen": "MARK"}),
    ("note", {'a "token" \\ of': "MARK"}),
    ("note", {"deep": [{"card": {"x": ["MARK"]}}], "shown": "x"}),
    ("note", [{"password": "MARK"}]),
    ("nobody_declared", {"client_secret": "MARK"}),
    ("open_door", {"door_code": "MARK"}),
    ("open_door", {"doorCode": "MARK"}),
    ("open_door", {"inside": {"hidden": "MARK"}}),
    ("open_door", {"several": [{"shown": "x", "hidden": "MARK"}]}),
    ("open_door", {"byName": {"x": {"hidden": "MARK"}}}),
    ("keep_secrets", {"other": "MARK"}),
    ("charge", {"note": "MARK 4242 4242 4242 4242"}),
    ("charge", {"note": {"deep": "MARK 424242424242"}}),
    ("charge", {"MARK4242424242424242": 1}),
]


@pytest.mark.parametrize(("name", "payload"), SECRET)
def test_no_part_of_what_is_masked_finds_its_job(name: str, payload: Any) -> None:
    # What the dashboard and the API show.
    assert "MARK" not in json.dumps(masked(payload, lookup.payload_schema(name)))
    job_id = insert(job_type=name, payload=json.dumps(payload), status="failed", error_message="boom")

    for text in ("MARK", "mark", "MAR", "RK"):
        assert _found(text) == []
    assert _found("boom") == [job_id], "its message is shown to everybody"


SHOWN = [
    ("note", {"customer_id": "c-17", "token": "s"}, '"customer_id": "c-17"'),
    ("note", {"note": "my token: MARK", "x": "discard"}, "MARK"),
    ("note", {"a": [{"b": "MARK"}], "c": {"card": "s"}}, "MARK"),
    ("note", ["MARK", 7], "MARK"),
    ("nobody_declared", {"a": "100% MARK_1"}, "0% MARK_"),
    ("open_door", {"house": "MARK", "door_code": "s"}, "MARK"),
    ("open_door", {"house": "a", "other": "MARK"}, "MARK"),
    ("charge", {"invoice_id": "i-MARK", "note": "4242 4242 4242 4242"}, "i-MARK"),
    ("charge", {"invoice_id": "0199c0de-7a1b-7c3d-8e4f-123456789012"}, "7a1b-7c3d"),
]


@pytest.mark.parametrize(("name", "payload", "text"), SHOWN)
def test_what_a_payload_shows_is_found_beside_its_secrets(name: str, payload: Any, text: str) -> None:
    job_id = insert(job_type=name, payload=json.dumps(payload))
    assert _found(text) == _found(text.upper()) == [job_id]


names = st.sampled_from(
    ["a", "note", "Token", "x card y", "door_code", "doorCode", "inside", "hidden", "shown", '"', "\\"]
)
values = st.recursive(
    st.text(st.sampled_from('ab"\\:{}[],0123456789 -.é'), max_size=20) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from([*TYPES, "note"]), payload=st.dictionaries(names, values, max_size=4))
@settings(max_examples=200)
def test_what_is_found_is_always_in_what_is_shown(name: str, payload: dict[str, Any]) -> None:
    shown = json.dumps(masked(payload, lookup.payload_schema(name)), ensure_ascii=False).lower()
    query("TRUNCATE background_jobs CASCADE")
    insert(job_type=name, payload=json.dumps(payload))

    for text in _leaves(payload):
        if text.strip() and _found(text):
            assert json.dumps(text, ensure_ascii=False)[1:-1].lower() in shown or text.lower() in shown


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in (name, *_leaves(inner))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [str(value)]


def test_a_reader_of_the_api_learns_nothing_from_the_list_or_its_pages(reader: httpx.Client) -> None:
    for number in range(3):
        insert(job_type="open_door", payload=json.dumps({"house": f"h-{number}", "door_code": f"1234{number}"}))

    def answer(text: str) -> Any:
        return reader.get("/jobs", params={"text": text, "limit": 1}).json()

    assert answer("12341") == answer("99999") == {"jobs": [], "nextCursor": None}
    assert len(answer("h-1")["jobs"]) == 1
    assert reader.get("/jobs", params={"text": "1234", "type": "open_door"}).json()["jobs"] == []


def test_pages_and_bulk_retries_count_nothing_that_is_masked() -> None:
    insert(
        job_type="open_door", status="failed", completed_at="now", error_message="boom", fingerprint="open_door:E:boom",
        payload='{"house": "h-1", "door_code": "12345"}',
    )  # fmt: skip

    assert "No failed job passes these filters" in texts(open_page("failed", text="1234"))
    assert "**1 job** failed" in texts(open_page("failed", text="h-1"))
    assert "No finished job passes these filters" in texts(open_page("history", text="1234"))
    assert len(error_groups.failed_groups(JobFilter(text="1234"))) == 0
    assert bulk.preview_retry(JobFilter(text="1234")).jobs == 0
    *_, last = bulk.run_bulk(*bulk.create_bulk_retry(JobFilter(text="1234"), None, Actor("ann", "operator")))
    assert last.done == 0
    *_, last = bulk.run_bulk(*bulk.create_bulk_retry(JobFilter(text="h-1"), None, Actor("ann", "operator")))
    assert last.done == 1
