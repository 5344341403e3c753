"""Lookups of a CRM import: the files that have a value for each key, held in memory."""

from __future__ import annotations

from typing import NamedTuple

from models.crm_import.cells import Cells
from models.crm_import.files import CsvFile
from models.crm_import.mapping import Lookup
from models.crm_import.problems import CrmFileError, quoted, shortened


class Entry(NamedTuple):
    """A value as the lookup's file has it, and the line it stands on."""

    text: str
    line: int


class LookupTable:
    """The entries of one lookup by key."""

    def __init__(self, file: CsvFile, lookup: Lookup, cells: Cells) -> None:
        """Reads the whole file.

        Raises:
            CrmFileError: when a row cannot be read, or has a key again.
        """
        self.file = file.name
        self.column = lookup.value
        self._entries: dict[str, Entry] = {}
        key_of, value_of = cells.reader(lookup.key), cells.reader(lookup.value)
        for record in file.records():
            if record.problem is not None:
                raise CrmFileError(f"{file.name}, line {record.line}: {record.problem.reason}")
            key, value = key_of(record), value_of(record)
            if key is None or value is None:
                continue
            if key in self._entries:
                raise CrmFileError(
                    f"{file.name}, line {record.line}: {lookup.key} {shortened(key)} is also on line "
                    f"{self._entries[key].line}: expected each key once"
                )
            self._entries[key] = Entry(value, record.line)

    def __getitem__(self, key: str) -> Entry:
        """The entry of this key.

        Raises:
            ValueError: when there is none, naming the keys there are.
        """
        entry = self._entries.get(key)
        if entry is None:
            known = quoted(self._entries) or "none"
            raise ValueError(f"expected a key of {self.file} ({known}), got {shortened(key)}")
        return entry
