"""What goes into a spreadsheet file: text that stays text, whoever typed it, and CSV that opens right everywhere.

A spreadsheet runs a cell that begins with `=` and some others as a formula, also from a CSV file, and what customers
and error messages say must not be run. Everything that writes CSV or XLSX passes here.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from models.formulas import is_formula, without_formulas_inside

#: No XML holds these, and no cell shows them; tab and line ends are allowed.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
#: The most a cell of Excel takes.
CELL_LIMIT = 32_767
#: Excel takes a file without it for the machine's old code page.
_BYTE_ORDER_MARK = "\ufeff"

Cell = str | int | float | datetime | date | None


def safe_text(text: str) -> str:
    """The text as a cell may hold it: with an apostrophe in front where it would be run as a formula.

    Control characters become `\N{REPLACEMENT CHARACTER}`; what is longer than Excel takes is cut, and ends in `...`.
    """
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    if is_formula(text):
        text = f"'{text}"
    return text if len(text) <= CELL_LIMIT else f"{text[: CELL_LIMIT - 3]}..."


def cell(value: Any) -> Cell:
    """The value as a spreadsheet's cell: numbers and times as they are, text made safe, all else as safe text.

    None, NaN and infinity are empty cells; times with a zone come out in UTC without one, which no spreadsheet knows.
    """
    match value:
        case None:
            return None
        case bool():
            return "yes" if value else "no"
        case str():
            return safe_text(value)
        case int():
            return value
        case float() | Decimal():
            number = float(value)
            return number if math.isfinite(number) else None
        case datetime() if pd.isna(value):
            return None
        case datetime():
            moment: datetime = value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
            return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
        case date():
            return value
        case dict() | list() | tuple():
            return safe_text(json.dumps(value, ensure_ascii=False, default=str))
    if hasattr(value, "item"):  # NumPy's numbers
        return cell(value.item())
    return None if value is pd.NA or value is pd.NaT else safe_text(str(value))


def csv_bytes(frame: pd.DataFrame, *, total: Iterable[Any] | None = None) -> bytes:
    """The frame, without its index, as a CSV file that Excel, LibreOffice and pandas open alike.

    UTF-8 with a byte order mark, CRLF, comma; times as `2026-11-24 16:51:00` in UTC; text always in quotes. Where the
    list separator is a semicolon, a text with one in it may be parted there: what follows is then no formula either.

    Args:
        total: a last row.
    """
    file = io.StringIO(newline="")
    file.write(_BYTE_ORDER_MARK)
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([_as_csv(safe_text(str(name))) for name in frame.columns])
    for row in rows_of(frame):
        writer.writerow([_as_csv(value) for value in row])
    if total is not None:
        writer.writerow([_as_csv(cell(value)) for value in total])
    return file.getvalue().encode()


def rows_of(frame: pd.DataFrame) -> Iterable[list[Cell]]:
    """The rows of a frame as cells."""
    columns = [frame.iloc[:, place].tolist() for place in range(frame.shape[1])]
    for row in zip(*columns, strict=True):
        yield [cell(value) for value in row]


def _as_csv(value: Cell) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, str):
        return without_formulas_inside(value)
    # The writer puts quotes around None's empty text, and not around a number that is no number.
    return "" if value is None else value
