"""Secrets in payloads are not shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from models.masking import MASK, TOO_DEEP, masked
from models.registry import HIDES_INPUT, _schema


class Inner(BaseModel):
    shown: str = ""
    hidden: SecretStr = SecretStr("")


class Outer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    plain: str = ""
    door_code: SecretStr | None = None
    pin: str = Field("", json_schema_extra={"writeOnly": True})
    inner: Inner = Inner()
    several: list[Inner] = []
    by_name: dict[str, Inner] = {}
    codes: list[SecretStr] = []


SCHEMA: dict[str, Any] = json.loads(_schema(Outer))


def test_what_the_schema_calls_secret_is_masked_wherever_it_is() -> None:
    payload = {
        "plain": "p", "door_code": "s", "pin": "s", "inner": {"shown": "p", "hidden": "s"},
        "several": [{"shown": "p", "hidden": "s"}], "by_name": {"x": {"hidden": "s"}}, "codes": ["s", "s"],
    }  # fmt: skip
    assert masked(payload, SCHEMA) == {
        "plain": "p", "door_code": MASK, "pin": MASK, "inner": {"shown": "p", "hidden": MASK},
        "several": [{"shown": "p", "hidden": MASK}], "by_name": {"x": {"hidden": MASK}}, "codes": [MASK, MASK],
    }  # fmt: skip


def test_a_field_is_secret_by_its_other_name_too() -> None:
    assert masked({"doorCode": "s", "byName": {"x": {"hidden": "s"}}}, SCHEMA) == {
        "doorCode": MASK, "byName": {"x": {"hidden": MASK}},
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["token", "accessToken", "client_secret", "PASSWORD", "card", "cardNumber", "cvc", "api_key", "apiKey"]
)
def test_a_name_that_sounds_secret_is_enough_at_any_depth(name: str) -> None:
    assert masked({"a": [{name: ["x", {"y": "z"}]}]}) == {"a": [{name: MASK}]}


def test_a_secret_that_is_not_set_stays_null() -> None:
    assert masked({"token": None, "door_code": None}, SCHEMA) == {"token": None, "door_code": None}


def test_what_nobody_could_read_or_write_is_cut() -> None:
    deep: Any = "bottom"
    for _ in range(600):
        deep = {"a": deep}
    text = json.dumps(masked(deep, SCHEMA))
    assert TOO_DEEP in text and "bottom" not in text


def test_a_schema_that_refers_to_itself_or_nowhere_is_no_trouble() -> None:
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/no/where"}, 7]}}}
    assert masked({"x": [{"y": 1}]}, loop) == {"x": [{"y": 1}]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_a_schema_of_many_alternatives_is_walked_once_a_level() -> None:
    both = {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/both"}}}, {"properties": {"a": {"$ref": "#/$defs/both"}}}]}
    deep: Any = {"token": "s"}
    for _ in range(80):
        deep = {"a": deep}
    assert MASK in json.dumps(masked(deep, {**both, "$defs": {"both": both}}))


@given(payload=st.dictionaries(st.text(), json_values))
def test_masking_twice_changes_nothing_more_and_the_payload_stays_as_it_was(payload: dict[str, Any]) -> None:
    before = json.dumps(payload)
    once = masked(payload, SCHEMA)
    assert masked(once, SCHEMA) == once
    assert json.dumps(payload) == before
    assert once.keys() == payload.keys()


def test_a_card_number_is_hidden_wherever_it_stands_if_the_schema_says_so() -> None:
    payload = {"note": "4242 4242 4242 4242", "4242424242424242": 1, "deep": [4242424242424242], "amount": "12.50"}

    assert masked(payload, {HIDES_INPUT: True}) == {"note": "***", "***": "***", "deep": ["***"], "amount": "12.50"}
    assert masked(payload) == payload
