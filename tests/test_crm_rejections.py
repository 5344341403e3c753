"""The rows a CRM import rejects: with file, line, column and reason, and how many it puts up with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from crm_folder import DEALS, DEALS_HEADER, Crm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.crm_import import TableCounts
from models.crm_import.problems import CrmFileError, TooManyRejectedError

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("d1,A,,Open,-5,", "value", "expected an amount from 0 to 9,999,999,999.99, got '-5'"),
        ("d1,A,,Open,10000000000,", "value", "expected an amount from 0"),
        ("d1,A,,Open,9999999999.999,", "value", "expected an amount from 0"),
        ("d1,A,,Open,1.2345,", "value", "expected at most two decimals (or round = true)"),
        ("d1,A,,Open,1e5,", "value", "expected a number"),
        ("d1,A,,Open,NaN,", "value", "expected a number"),
        ("d1,A,,Open,٣,", "value", "expected a number"),
        ("d1,A,,Open,1,2017-02-30", "close", "expected a date (ISO 8601), got '2017-02-30'"),
        ("d1,A,,Open,1,0217-02-03", "close", "expected a date from 1900-01-01"),
        ("d1,A,,Open,1,soon", "close", "expected a date such as 2017-04-03, got 'soon'"),
        ("d1,A,,Closed,1,", "stage", "expected one of 'Open', 'Won', got 'Closed'"),
        ("d1,A,,,1,", "stage", "the status is empty"),
        ("d1, ,,Open,1,", "title", "the title is empty"),
        (",A,,Open,1,", "id", "the id is empty"),
        ("d1,A\0B,,Open,1,", "title", "control character U+0000"),
        (f"d1,{'x' * 301},,Open,1,", "title", "expected at most 300 characters, got 301"),
        (f"{'x' * 201},A,,Open,1,", "id", "expected at most 200 characters, got 201"),
        ("d1,A,,Open,1", "", "expected 6 fields as in the header, got 5"),
        ("d1,A,,Open,1,,", "", "expected 6 fields as in the header, got 7"),
        ('d1,"A"B,,Open,1,', "", "the line cannot be read"),
    ],
)
def test_a_row_the_table_cannot_take_is_rejected_with_its_reason(crm: Crm, row: str, column: str, reason: str) -> None:
    counts = crm.deals(f"d0,Good,,Open,1,\n{row}\nd9,Good,,Open,1,\n")
    assert counts == TableCounts(read=3, inserted=2, rejected=1)
    (rejected,) = crm.rejected()
    assert (rejected["file"], rejected["line"], rejected["column"]) == ("deals.csv", "3", column)
    assert reason in rejected["reason"]
    assert crm.rows("SELECT id FROM opportunities ORDER BY id") == [("d0",), ("d9",)]


def test_the_later_of_two_rows_with_one_id_is_rejected_naming_the_first(crm: Crm) -> None:
    assert crm.deals("d1,A,,Open,1,\nd2,B,,Open,1,\nd1,C,,Open,1,\n").rejected == 1
    assert crm.rejected() == [
        {"file": "deals.csv", "line": "4", "column": "id", "reason": "the same id as on line 2", "value": "d1"}
    ]


def test_a_row_after_a_rejected_one_with_the_same_id_is_loaded(crm: Crm) -> None:
    assert crm.deals("d1,A,,Open,-1,\nd1,B,,Open,1,\n") == TableCounts(read=2, inserted=1, rejected=1)


def test_line_numbers_count_line_breaks_within_quotes_and_blank_lines(crm: Crm) -> None:
    crm.deals('d1,"A\nB\r\nC",,Open,1,\n\n,,,,,\nd2,"\nX",,Open,-1,\nd3,A,,Open,-1,\n')
    assert [row["line"] for row in crm.rejected()] == ["7", "9"]
    assert crm.rows("SELECT title FROM opportunities") == [("A B C",)]


@given(st.lists(st.text(st.sampled_from('a\n\r",'), max_size=6), min_size=1, max_size=8))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=40
)
def test_every_rejected_row_is_reported_with_the_line_it_starts_on(crm: Crm, titles: list[str]) -> None:
    text, lines = DEALS_HEADER, []
    for number, title in enumerate(titles):
        lines.append(len(re.findall(r"\r\n|\r|\n", text)) + 1)
        quoted = title.replace('"', '""')
        text += f'd{number},"{quoted}",,Open,-1,\n'
    crm.write("deals.csv", text)
    crm.load('max_rejected = "100%"\n' + DEALS)
    assert [int(row["line"]) for row in crm.rejected()] == lines


def test_text_that_looks_like_a_formula_is_stored_as_it_is_and_harmless_in_the_report(crm: Crm) -> None:
    crm.deals("d1,=1+2,,Open,1,\nd2,A,,=cmd(),1,\nd3,A,,Open,-5,\nd4,A,,\uff1da;=b,1,\n")
    assert crm.rows("SELECT title FROM opportunities") == [("=1+2",)]
    assert [row["value"] for row in crm.rejected()] == ["'=cmd()", "-5", "'\uff1da;'=b"]


def test_more_rejections_than_allowed_load_nothing_and_keep_the_report(crm: Crm) -> None:
    with pytest.raises(TooManyRejectedError, match="2 of 3 rows were rejected.*max_rejected = 1:") as caught:
        crm.deals("d1,A,,Open,1,\nd2,B,,Open,-1,\nd3,C,,Open,-1,\n", allowed="1")
    assert caught.value.report == crm.report
    assert len(crm.rejected()) == 2
    assert crm.rows("SELECT id FROM opportunities") == []


@pytest.mark.parametrize(("allowed", "loads"), [("2", True), ('"50%"', True), ('"49.9%"', False), ("0", False)])
def test_the_allowed_rejections_are_a_number_or_a_share(crm: Crm, allowed: str, loads: bool) -> None:
    rows = "d1,A,,Open,1,\nd2,B,,Open,-1,\nd3,C,,Open,-1,\nd4,D,,Open,4,\n"
    if loads:
        assert crm.deals(rows, allowed=allowed).inserted == 2
    else:
        with pytest.raises(TooManyRejectedError):
            crm.deals(rows, allowed=allowed)


def test_without_a_place_for_it_the_report_goes_to_the_data_folder_if_rows_are_rejected(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here:
        data_dir = crm.folder / "data"

    monkeypatch.setattr("models.crm_import.rejections.settings", Here)
    crm.write("deals.csv", DEALS_HEADER + "d1,A,,Open,1,\n")
    assert crm.load(DEALS, report=None).report is None
    crm.write("deals.csv", DEALS_HEADER + "d1,A,,Open,1,\nd2,B,,Open,-1,\n")
    report = crm.load(DEALS, report=None).report
    assert report is not None and report.parent == crm.folder / "data" / "imports"
    assert report.stat().st_mode & 0o077 == 0


def test_a_report_that_cannot_be_written_stops_the_import(crm: Crm) -> None:
    with pytest.raises(CrmFileError, match="expected a place for the report"):
        crm.deals("d1,A,,Open,1,\n", report=crm.folder)
    assert crm.rows("SELECT id FROM opportunities") == []
