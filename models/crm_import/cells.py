"""Cells of a record as the mapping reads them: white space around them and words for "empty" gone, words replaced."""

from __future__ import annotations

from collections.abc import Callable

from models.crm_import.files import CsvFile, Record
from models.crm_import.format import Format
from models.crm_import.mapping import CsvTable

#: The text of one cell of a record, or None when it is empty.
Cell = Callable[[Record], str | None]


class Cells:
    """The cells of one file."""

    def __init__(self, file: CsvFile, table: CsvTable, file_format: Format) -> None:
        self._columns = file.columns
        self._replace = table.replace
        self._empty = {"", *file_format.empty}

    def raw(self, record: Record, column: str) -> str:
        """The cell as it stands in the file."""
        return record.fields[self._columns[column]]

    def reader(self, column: str) -> Cell:
        """What reads this column."""
        place, empty, words = self._columns[column], self._empty, self._replace.get(column, {})

        def read(record: Record) -> str | None:
            text = record.fields[place].strip()
            return None if text in empty else words.get(text, text) or None

        return read
