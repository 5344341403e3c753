"""What people read: durations and counts in words, and hostile text that stays text."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markdown import Markdown

from dashboard import text

HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "![pixel](https://evil.example/p.png) [click](javascript:alert(1))",
    ":red[urgent] :material/warning: :green-badge[ok] $x^2$ **bold** # heading",
    '=HYPERLINK("https://evil.example")',
    "invoice\u202egnp.exe \u2066hidden\u2069 zero\u200bwidth",
    "back`tick ``two`` ```three``` `",
    "https://evil.example www.evil.example someone@evil.example",
    "NUL \x00 escape \x1b[31m bell \x07",
    "\ud800 lone surrogate",
    "line one\nline two\r\n# three",
    "x" * 100_000,
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_code_span_holds_anything_as_text(hostile: str) -> None:
    (paragraph,) = [each for each in Markdown(text.code(hostile)).parsed if each.type == "inline"]
    assert [each.type for each in paragraph.children or []] == ["code_inline"]


@given(st.text())
def test_a_code_span_holds_any_text_as_text(anything: str) -> None:
    tokens = Markdown(f"before {text.code(anything)} after").parsed
    (paragraph,) = [each for each in tokens if each.type == "inline"]
    assert [each.type for each in paragraph.children or []] == ["text", "code_inline", "text"]


@given(st.text(), st.integers(2, 500))
def test_what_is_shown_is_one_line_without_invisible_marks_and_not_longer(anything: str, limit: int) -> None:
    shown = text.visible(anything, limit)
    assert len(shown) <= limit
    assert not any(each in shown for each in "\n\r\x00\x1b\u202e\u2066\u200b\ufeff")
    shown.encode()  # a lone surrogate raises: it could not be sent to the browser


def test_marks_that_turn_text_around_are_written_out() -> None:
    assert text.visible("invoice\u202egnp.exe") == "invoice\\u202egnp.exe"


def test_a_long_text_is_cut_before_it_is_looked_through() -> None:
    assert len(text.visible("x" * 10_000_000)) == text.CELL
    assert text.block("y" * 100_000).endswith("…")


def test_the_lines_of_a_traceback_are_kept() -> None:
    assert text.block("one\n  two\n") == "one\n  two\n"


@given(st.text())
def test_a_sentence_of_ours_cannot_be_formatted_by_a_name_in_it(name: str) -> None:
    tokens = Markdown(f"Waits for {text.plain(name)}.").parsed
    kinds = {each.type for token in tokens if token.children for each in token.children}
    assert kinds <= {"text", "text_special", "entity"}


def test_payloads_are_masked_even_where_they_are_cut() -> None:
    assert text.payload_line('{"apiKey": "s3cret", "n": 1}') == '{"apiKey": "***", "n": 1}'
    assert text.payload_line('{"apiKey": "s3cre') == "long: open the job to see it"
    assert "4242" not in text.payload_text({"card_number": "4242"})
    schema = {"properties": {"pin": {"type": "string", "format": "password"}}}
    assert '"pin": "***"' in text.payload_text({"pin": "1234"}, schema)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"), (0.085, "85 ms"), (1.24, "1.2 s"), (42, "42 s"), (60, "1 min"), (250, "4 min 10 s"),
        (11_100, "3 h 5 min"), (86_400, "1 d"), (187_200, "2 d 4 h"), (None, "–"), (math.nan, "–"), (-5, "-5.0 s"),
    ],
)  # fmt: skip
def test_durations_are_said_in_the_units_that_matter(seconds: float | None, words: str) -> None:
    assert text.duration(seconds) == words


@given(st.floats(0, 1e10))
def test_every_duration_has_words(seconds: float) -> None:
    assert text.duration(seconds)[0].isdigit()
    assert text.about(seconds)


@given(st.integers(0, 10_000_000), st.integers(1, 10_000_000))
def test_a_share_is_never_rounded_to_all_or_nothing(part: int, whole: int) -> None:
    shown = text.share(min(part, whole) / whole)
    assert (shown == "100%") == (part >= whole)
    assert (shown == "0%") == (part == 0)


def test_a_zone_that_nobody_knows_is_utc() -> None:
    assert text.zone_of("Europe/Zurich").key == "Europe/Zurich"
    assert {text.zone_of(each).key for each in (None, "", "Nowhere/Land", "../../etc/passwd", "\x00")} == {"UTC"}


def test_times_are_in_the_viewers_zone() -> None:
    when = datetime(2020, 7, 1, 12, 0, 5, tzinfo=UTC)
    assert text.moment(when, text.zone_of("Europe/Zurich")) == "1 Jul 2020 14:00:05"
    assert text.utc(when) == "2020-07-01 12:00:05 UTC"
    assert text.moment(None, text.zone_of(None)) == "–"
