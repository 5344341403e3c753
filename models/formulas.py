"""What spreadsheets run, also from a CSV file: where a text would begin a formula, an apostrophe goes in front."""

from __future__ import annotations

import re

#: What spreadsheets take for the beginning of a formula (OWASP, "CSV injection"), the full-width forms included.
_BEGINNING = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(rf"[\t\r\n]|[\s\ufeff\u200b]*{_BEGINNING}")
#: Where a spreadsheet that parts cells at semicolons or tabs sees the beginning of a cell, or of a row: it takes quotes
#: for such only in the first cell of a row that is parted by commas.
_INSIDE = re.compile(rf"""(?<=[;\t\r\n])(?=[\s\ufeff\u200b"]*{_BEGINNING})""")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would run a cell with this text."""
    return _FORMULA.match(text) is not None


def without_formulas_inside(text: str) -> str:
    """The text for a CSV file that is parted by commas, and read where the list separator is another one."""
    return _INSIDE.sub("'", text)
