"""Bad input is refused at the door, with what was expected and what came; nothing of it is stored.

Ten thousand generated ones: 4,000 by `add_job`, 3,500 by `add_batch`, and 2,500 rows in `test_bad_rows.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from support import job_type, known, value

from models import InvalidJobError, job_queue, registry
from models.door import PAYLOAD_LIMIT_BYTES


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


NOTE, FREE = job_type(), job_type("free", payload=Anything)

any_text = st.text(st.characters(), max_size=20)  # NUL and lone surrogates included
surrogates = st.characters(categories=["Cs"])


def _nested(depth: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(depth):
        payload = {"a": payload}
    return payload


def _anywhere(bad: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A payload that has one of these somewhere within."""
    return st.recursive(bad, lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(
        st.text("abc"), inner, min_size=1, max_size=2
    ), max_leaves=3).map(lambda inner: {"text": inner})  # fmt: skip


def _note_with(**bad: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just("note"), **bad})


circular: dict[str, Any] = {}
circular["self"] = circular

not_json = st.one_of(
    st.sampled_from([float("nan"), float("inf"), object(), {1, 2}, b"x", 1j, Decimal(1), datetime.now(UTC), circular]),
    st.integers(4_301, 9_000).map(lambda digits: 10**digits),
    st.tuples(any_text, st.sampled_from("\x00"), any_text).map("".join),
    st.tuples(any_text, surrogates, any_text).map("".join),
    st.dictionaries(st.tuples(st.integers()), st.integers(), min_size=1, max_size=2),
)
bad_payloads = st.one_of(
    st.tuples(st.just("free"), _anywhere(not_json)),
    st.tuples(st.just("free"), st.dictionaries(st.integers() | st.binary(), st.just(1), min_size=1, max_size=3)),
    st.tuples(st.just("free"), st.integers(205, 3_000).map(_nested)),
    st.tuples(st.just("free"), st.sampled_from([{"a": "ü" * (PAYLOAD_LIMIT_BYTES // 2)}, {"a": [0] * 350_000}])),
    st.tuples(
        st.sampled_from(["note", "free"]),
        st.lists(st.integers()) | any_text | st.integers() | st.floats() | st.binary() | st.sampled_from([NOTE, {1}]),
    ),
    st.tuples(
        st.just("note"),
        st.one_of(
            st.fixed_dictionaries({"text": st.integers() | st.none() | st.lists(any_text) | st.booleans()}),
            st.fixed_dictionaries({"copies": st.text("abc") | st.floats(0.1, 0.9) | st.none()}),
            st.dictionaries(st.text("bcd", min_size=1, max_size=2_000), st.integers(), min_size=1),
        ),
    ),
).map(lambda pair: {"type": pair[0], "payload": pair[1]})
bad_numbers = st.one_of(st.floats(), st.booleans(), st.text(max_size=5), st.integers(4_301, 9_000).map(lambda n: 10**n))
bad_times = st.one_of(
    st.datetimes(),
    st.dates() | st.integers() | st.text(max_size=9) | st.just(date.max),
    st.datetimes(max_value=datetime(1969, 12, 30), timezones=st.timezones()),
    st.sampled_from([datetime.max, datetime.min]).map(lambda end: end.replace(tzinfo=timezone(timedelta(hours=-14)))),
)
bad_keys = st.one_of(
    st.integers() | st.binary() | st.just(""),
    st.tuples(any_text, st.sampled_from("\x00") | surrogates, any_text).map("".join),
    st.text("aü", min_size=501),
    st.integers(251, 2_000).map("ü".__mul__),
)
bad_jobs = st.one_of(
    bad_payloads,
    st.fixed_dictionaries(
        {"type": st.one_of(st.none(), st.integers(), st.binary(), st.lists(st.just("note")), any_text.filter(
            # Texts are drawn from our own code too, where the names of types are that need no payload.
            lambda name: name not in registry.load()
        ))}
    ),  # fmt: skip
    _note_with(priority=bad_numbers | st.none() | st.integers(11) | st.integers(max_value=0)),
    _note_with(max_retries=bad_numbers | st.integers(1_001) | st.integers(max_value=-1)),
    _note_with(scheduled_for=bad_times),
    _note_with(unique_key=bad_keys),
)
good_jobs = st.just({"type": "note", "payload": {"text": "fine"}})
bad_entries = st.one_of(
    bad_jobs,
    bad_jobs,
    st.none() | st.integers() | st.text(max_size=5) | st.lists(st.just("note")),
    st.dictionaries(any_text | st.integers() | st.none(), st.integers(), min_size=1, max_size=3),
    st.tuples(any_text | st.integers(), st.integers()).map(lambda pair: {"type": "note", pair[0]: pair[1]}).filter(
        lambda entry: entry.keys().isdisjoint({"priority", "max_retries"}) and entry["type"] == "note"
    ),  # fmt: skip
    st.just({"payload": {}, "priority": 3}),
)


@pytest.fixture(autouse=True)
def types(database: str) -> Iterator[None]:
    with known(NOTE, FREE):
        yield


def _says_what_was_expected(refusal: InvalidJobError) -> None:
    message = str(refusal)
    assert re.search(r"expected .+[ ,;](got |'type' is missing)|does not fit \w+: .+ got ", message, re.DOTALL), message
    assert len(message.encode()) < 3_000, "bounded, and fit for any log"


def test_no_bad_job_passes_add_job() -> None:
    @settings(max_examples=4_000, database=None)
    @given(bad_jobs)
    def is_refused(bad: dict[str, Any]) -> None:
        with pytest.raises(InvalidJobError) as refused:
            job_queue.add_job(**bad)
        _says_what_was_expected(refused.value)

    is_refused()
    assert value("SELECT count(*) FROM background_jobs") == 0


def test_no_batch_with_one_bad_job_passes_add_batch() -> None:
    @settings(max_examples=3_500, database=None)
    @given(st.lists(good_jobs, max_size=3), bad_entries, st.lists(good_jobs, max_size=2))
    def is_refused(before: list[Any], bad: Any, after: list[Any]) -> None:
        with pytest.raises(InvalidJobError, match=f"^job {len(before)}: ") as refused:
            job_queue.add_batch([*before, bad, *after])
        _says_what_was_expected(refused.value)

    is_refused()
    assert value("SELECT count(*) FROM background_jobs") == 0
