"""Failures: grouped by what went wrong and not by whom it hit, and always fit for the database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import value

from models.outcomes import MESSAGE_LIMIT, TRACEBACK_LIMIT, Failure, fingerprint, storable

words = st.sampled_from(["could", "not", "connect", "to:", "(port", "answered", "with", "-", "customer", "[Errno", "ü"])
names = st.text("abcxyz", min_size=1, max_size=8)
values = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(0, 10**9).map("{:,}".format),
    st.uuids().map(str),
    st.uuids().map(lambda uuid: str(uuid).upper()),
    st.integers(0, 2**64).map(hex),
    st.datetimes().map(lambda time: time.strftime("%H:%M:%S")),
    st.ip_addresses(v=4).map(str),
    st.text(st.characters(exclude_characters="'\n", exclude_categories=["Cs"])).map("'{}'".format),
    st.text(st.characters(exclude_characters='"\n', exclude_categories=["Cs"])).map('"{}"'.format),
    st.tuples(names, names).map("{0[0]}@{0[1]}.example".format),
)


@st.composite
def the_same_error_twice(draw: st.DrawFn) -> tuple[str, str]:
    parts: list[tuple[str, str]] = []
    for is_value in draw(st.lists(st.booleans(), min_size=1, max_size=12)):
        word = draw(words)
        parts.append((draw(values), draw(values)) if is_value else (word, word))
    one, other = zip(*parts, strict=True)
    return " ".join(one), " ".join(other)


@given(the_same_error_twice(), st.text(), st.text())
def test_numbers_ids_addresses_quoted_values_and_further_lines_do_not_matter(
    messages: tuple[str, str], tail: str, other_tail: str
) -> None:
    one = Failure("SMTPError", f"{messages[0]}\n{tail}")
    other = Failure("SMTPError", f"{messages[1]}\n{other_tail}")

    assert fingerprint("send", one) == fingerprint("send", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("send", "OSError", "no route to host"), ("send", "OSError", "connection refused")),
        (("send", "OSError", "no route to host"), ("send", "TimeoutError", "no route to host")),
        (("send", "OSError", "no route to host"), ("call", "OSError", "no route to host")),
    ],
)
def test_another_type_error_or_message_is_another_group(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert fingerprint(one[0], Failure(*one[1:])) != fingerprint(other[0], Failure(*other[1:]))


@given(st.text())
def test_a_group_has_a_short_name(message: str) -> None:
    assert len(fingerprint("send", Failure("OSError", message * 50))) <= 200 + len("send:OSError:")


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised


@given(st.text(st.characters()))
def test_the_message_of_an_error_is_kept_as_the_database_can_hold_it(message: str) -> None:
    failure = Failure.of(_raised(ValueError(message)))

    assert failure.error_class == "ValueError"
    assert failure.message == (storable(message) or "ValueError")[:MESSAGE_LIMIT]
    assert "\x00" not in failure.message + str(failure.traceback)
    assert (failure.message + str(failure.traceback)).encode()


def test_the_database_takes_every_kept_message(database: str) -> None:
    failure = Failure.of(_raised(ValueError("a\x00b\ud800c😀")))

    assert value("SELECT %s::text", failure.message) == "a\\x00b\\ud800c😀"
    assert value("SELECT %s::text", failure.traceback) == failure.traceback


def test_long_messages_are_cut_and_a_traceback_keeps_its_end() -> None:
    failure = Failure.of(_raised(ValueError("x" * 100_000 + "the end")))

    assert len(failure.message) == MESSAGE_LIMIT
    assert failure.traceback is not None
    assert len(failure.traceback) == TRACEBACK_LIMIT and failure.traceback.endswith("the end\n")


def test_an_error_whose_message_cannot_be_made_is_a_failure_like_any_other() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            return self.missing  # type: ignore[attr-defined,no-any-return]

    failure = Failure.of(_raised(Broken()))

    assert failure.error_class.endswith("Broken")
    assert "Broken" in failure.message and "AttributeError" in failure.message


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), ExceptionGroup("two", [ValueError("a")])])
def test_even_what_is_no_exception_becomes_a_failure(error: Any) -> None:
    failure = Failure.of(_raised(error))

    assert failure.message and failure.traceback
