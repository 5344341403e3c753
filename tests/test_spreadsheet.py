"""Spreadsheet files: no text is run as a formula, numbers and times stay what they are."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spreadsheet import CELL_LIMIT, cell, csv_bytes, safe_text

HOSTILE = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\ufeff=1", "\uff1d1+1", "\uff0b1",
    "\uff0d1", "\uff20a", '=HYPERLINK("http://x")',
]  # fmt: skip


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_would_be_run_as_a_formula_is_text(text: str) -> None:
    assert safe_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Anna", "o'Hara = co", "a-b", "1-2", "mail@example.com", "\u4f60\u597d", "'=1"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@given(st.text(max_size=40))
def test_no_text_comes_out_as_a_formula(text: str) -> None:
    assert safe_text(text).lstrip()[:1] not in tuple("=+-@")
    assert "\x00" not in safe_text(text)


def test_numbers_and_times_stay_numbers_and_times() -> None:
    plus_two = timezone(timedelta(hours=2))
    assert cell(-5) == -5 and cell(Decimal("-1.50")) == -1.5 and cell(np.int64(7)) == 7
    assert cell(float("nan")) is None and cell(float("inf")) is None and cell(pd.NaT) is None and cell(None) is None
    assert cell(datetime(2026, 1, 1, 2, tzinfo=plus_two)) == datetime(2026, 1, 1)
    assert cell(pd.Timestamp("2026-01-01", tz="UTC")) == datetime(2026, 1, 1)
    assert cell(date(2026, 1, 2)) == date(2026, 1, 2)
    assert cell({"a": 1}) == '{"a": 1}' and cell(True) == "yes"


def test_a_text_longer_than_a_cell_is_cut() -> None:
    assert len(safe_text("=" * 40_000)) == CELL_LIMIT


def test_a_csv_file_reads_back() -> None:
    frame = pd.DataFrame(
        {
            "name": ['Anna "A", 1', "=1+1", "two\r\nlines; =2"],
            "=value": [1.5, -2.0, float("nan")],
            "at": pd.to_datetime([datetime(2026, 1, 1, tzinfo=UTC), None, None], utc=True),
        }
    )
    content = csv_bytes(frame, total=["total", Decimal("-0.5"), None])

    assert content.startswith(b"\xef\xbb\xbf")
    assert read(content) == [
        ["name", "'=value", "at"],
        ['Anna "A", 1', "1.5", "2026-01-01 00:00:00"],
        ["'=1+1", "-2.0", ""],
        ["two\r\nlines;' =2", "", ""],
        ["total", "-0.5", ""],
    ]


@pytest.mark.parametrize("separator", [";", "\t", ","])
@given(texts=st.lists(st.text("=+@-;,\t\r\n\" '\uff1da1", max_size=12), min_size=1, max_size=4))
def test_whatever_parts_the_cells_none_of_them_is_a_formula(separator: str, texts: list[str]) -> None:
    frame = pd.DataFrame({"first": ["x"] * len(texts), ";=second": texts})
    text = csv_bytes(frame).decode("utf-8-sig")

    cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]

    assert not [cell for cell in cells if re.match(r"\s*[=+\-@\uff1d]", cell)]


def test_an_empty_frame_is_a_header() -> None:
    assert read(csv_bytes(pd.DataFrame({"a": [], "b": []}))) == [["a", "b"]]
