"""The files of a CRM import: encodings, delimiters, headers, and those that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from crm_folder import DEALS, DEALS_HEADER, Crm

from models.crm_import.problems import CrmFileError

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


def test_a_byte_order_mark_is_not_part_of_the_first_column(crm: Crm) -> None:
    crm.write("deals.csv", b"\xef\xbb\xbf" + DEALS_HEADER.encode() + b"d1,A,,Open,1,\n")
    assert crm.load(DEALS).opportunities.inserted == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "utf-32"])
def test_a_declared_encoding_is_read(crm: Crm, encoding: str) -> None:
    crm.write("deals.csv", (DEALS_HEADER + "d1,Café,,Open,1,\n").encode(encoding))
    crm.load(f'format = {{ encoding = "{encoding}" }}\n{DEALS}')
    assert crm.rows("SELECT title FROM opportunities") == [("Café",)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf_16_is_only_read_when_declared(crm: Crm, encoding: str) -> None:
    crm.write("deals.csv", (DEALS_HEADER + "d1,A,,Open,1,\n").encode(encoding))
    with pytest.raises(CrmFileError, match=f'put encoding = "{encoding}" into the mapping under .opportunities.format'):
        crm.load(DEALS)


@pytest.mark.parametrize(
    ("start", "line"),
    [(DEALS_HEADER, 2), (DEALS_HEADER + "x\n" * 50_000, 50_002), ("\ufeff" + DEALS_HEADER, 2)],
    ids=["at the start", "further down", "behind a byte-order mark"],
)
def test_bytes_that_do_not_decode_are_named_by_offset_and_line(crm: Crm, start: str, line: int) -> None:
    crm.write("deals.csv", start.encode() + "d1,Café,,Open,1,\n".encode("cp1252"))
    offset = len(start.encode() + b"d1,Caf")
    with pytest.raises(CrmFileError, match=rf"the byte b'\\xe9' at offset {offset} \(line {line}\) is not utf-8"):
        crm.load(f'max_rejected = "100%"\n{DEALS}')


def test_a_truncated_character_at_the_end_is_named(crm: Crm) -> None:
    crm.write("deals.csv", DEALS_HEADER.encode() + b"d1,A,,Open,1,\xe2\x82")
    with pytest.raises(CrmFileError, match=r"offset 48 \(line 2\) is not utf-8 \(unexpected end of data\)"):
        crm.load(DEALS)


def test_a_mapped_column_that_is_missing_is_named_with_those_there_are(crm: Crm) -> None:
    crm.write("deals.csv", DEALS_HEADER.replace("stage", "Stage") + "d1,A,,Open,1,\n")
    with pytest.raises(CrmFileError, match="uses the column 'stage', but the header has 'id', 'title', .*Stage"):
        crm.load(DEALS)


def test_another_delimiter_has_to_be_declared(crm: Crm) -> None:
    crm.write("deals.csv", (DEALS_HEADER + "d1,A,,Open,1,\n").replace(",", ";"))
    with pytest.raises(CrmFileError, match=r"set delimiter under \[opportunities.format\]"):
        crm.load(DEALS)
    assert crm.load(f'format = {{ delimiter = ";" }}\n{DEALS}').opportunities.inserted == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEALS_HEADER.replace("title", "id"), "has the column 'id' more than once"),
        ("", "expected the columns' names in the first line, got none"),
        (DEALS_HEADER + 'd1,A,,Open,1,\nd2,"B,,Open,1,\nd3,C,,Open,1,\n', "starts on line 3 has an opening quote"),
        (DEALS_HEADER + 'd2,"B,,Open,1,\nd3,"C",,Open,1,\n', "starts on line 2 has an opening quote"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_stops_the_import(crm: Crm, content: str, message: str) -> None:
    crm.write("deals.csv", content)
    with pytest.raises(CrmFileError, match=message):
        crm.load(DEALS)


def test_a_file_that_is_missing_is_named_with_those_there_are(crm: Crm) -> None:
    crm.write("sales.csv", DEALS_HEADER)
    with pytest.raises(CrmFileError, match=r"deals.csv: expected a CSV file.*CSV files in .*: sales.csv"):
        crm.load(DEALS)
