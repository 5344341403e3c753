"""The XLSX workbook of a report: a summary, and a sheet for each table, nothing in it that a spreadsheet would run."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from models.report_table import Column, Table
from models.reports import Kind, Report
from models.spreadsheet import Cell, cell, rows_of

#: Excel's limits.
_SHEET_NAME_LENGTH = 31
_NOT_IN_SHEET_NAMES = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_NUMBER_FORMATS: dict[Kind, str] = {
    "count": "#,##0",
    "money": '"$"#,##0.00',
    "percent": "0.0%",
    "seconds": "0.000",
    "date": "yyyy-mm-dd",
    "time": "yyyy-mm-dd hh:mm:ss",
    "text": "@",
}
#: Characters: a column is as wide as what is in it, within these.
_NARROWEST, _WIDEST = 10, 60
#: Text stays text: no formula, no link and no number is made of it.
_OPTIONS = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "nan_inf_to_errors": False,
}


def workbook(report: Report, tables: Sequence[Table]) -> bytes:
    """The workbook as a file's content; totals are numbers, as the tables have no cell that is a formula."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, _OPTIONS) as book:
        taken: set[str] = set()
        formats = _Formats(book)
        _summary(book.add_worksheet(sheet_name("Summary", taken)), formats, report)
        for table in tables:
            _sheet(book.add_worksheet(sheet_name(table.title, taken)), formats, table)
    return file.getvalue()


def sheet_name(title: str, taken: set[str]) -> str:
    """A name that Excel takes: 31 characters without []:*?/\\, no apostrophe at its ends, unlike any in `taken`."""
    name = _NOT_IN_SHEET_NAMES.sub("-", title).strip("' ")[:_SHEET_NAME_LENGTH].strip("' ") or "Sheet"
    if name.lower() == "history":  # Excel's own
        name = "History-"
    number, unique = 1, name
    while unique.lower() in taken:
        number += 1
        unique = f"{name[: _SHEET_NAME_LENGTH - len(str(number)) - 1]} {number}"
    taken.add(unique.lower())
    return unique


class _Formats:
    """The formats of a workbook, each made once."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        self._made: dict[tuple[Kind, bool], Format] = {}
        self.heading: Format = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.title: Format = book.add_format({"bold": True, "font_size": 14})

    def of(self, kind: Kind, total: bool = False) -> Format:
        key = kind, total
        if key not in self._made:
            rules = {"num_format": _NUMBER_FORMATS[kind], **({"bold": True, "top": 1} if total else {})}
            self._made[key] = self._book.add_format(rules)
        return self._made[key]


def _sheet(sheet: Worksheet, formats: _Formats, table: Table) -> None:
    rows = list(rows_of(table.titled()))
    sheet.freeze_panes(1, 0)
    for place, column in enumerate(table.columns):
        sheet.write_string(0, place, column.title, formats.heading)
        sheet.set_column(place, place, _width(column, [row[place] for row in rows]))
    for number, row in enumerate(rows, start=1):
        for place, column in enumerate(table.columns):
            _write(sheet, number, place, row[place], formats.of(column.kind))
    if rows:
        sheet.autofilter(0, 0, len(rows), len(table.columns) - 1)
    totals = table.totals()
    if totals is not None:
        for place, column in enumerate(table.columns):
            kind = column.kind if column.total else "text"
            _write(sheet, len(rows) + 1, place, cell(totals[place]), formats.of(kind, total=True))
    sheet.repeat_rows(0)
    sheet.fit_to_pages(1, 0)


def _summary(sheet: Worksheet, formats: _Formats, report: Report) -> None:
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, 2, 18)
    sheet.write_string(0, 0, f"Report {report.period}", formats.title)
    sheet.write_string(1, 0, "Days in UTC; made at")
    _write(sheet, 1, 1, cell(report.made_at), formats.of("time"))
    for place, title in enumerate(("Figure", "This period", f"Before: {report.period.before()}")):
        sheet.write_string(3, place, title, formats.heading)
    for number, headline in enumerate(report.headlines, start=4):
        sheet.write_string(number, 0, headline.title)
        for place, value in ((1, headline.value), (2, headline.before)):
            _write(sheet, number, place, cell(value), formats.of(headline.kind))
    sheet.freeze_panes(4, 0)


def _write(sheet: Worksheet, row: int, column: int, value: Cell, look: Format) -> None:
    if value is None:
        sheet.write_blank(row, column, None, look)
    elif isinstance(value, datetime | date):
        sheet.write_datetime(row, column, value, look)
    elif isinstance(value, str):
        sheet.write_string(row, column, value, look)
    else:
        sheet.write_number(row, column, value, look)


def _width(column: Column, values: Sequence[Any]) -> int:
    lengths = {"money": 16, "date": 12, "time": 20}
    longest = max((len(str(value)) for value in values), default=0) if column.kind == "text" else 0
    return min(_WIDEST, max(_NARROWEST, len(column.title) + 2, longest + 1, lengths.get(column.kind, 0)))
