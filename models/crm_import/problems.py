"""What can be wrong with a CRM import: the errors that stop it, and the problem that rejects one row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class CrmImportError(ValueError):
    """The import was stopped and nothing was loaded; the message says what to do."""


class ImportRunningError(CrmImportError):
    """Another import is running."""


class CrmMappingError(CrmImportError):
    """The mapping cannot be used."""


class CrmFileError(CrmImportError):
    """A CSV file cannot be read as the mapping says."""


class AmbiguousValuesError(CrmImportError):
    """A column's dates or numbers have more than one reading, and the mapping does not say which is meant."""


class TooManyRejectedError(CrmImportError):
    """More rows were rejected than `max_rejected` allows.

    Attributes:
        report: the file that lists the rejected rows.
    """

    def __init__(self, message: str, *, report: Path | None) -> None:
        super().__init__(message)
        self.report = report


class RowProblem(Exception):
    """Why a row is rejected: the CSV column (or columns), the reason, and the value as it stands in the file."""

    def __init__(self, column: str, reason: str, value: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason
        self.value = value


class UnansweredQuestion(Exception):
    """A row was skipped because its value has more than one reading; the import will ask when the files are read."""


def shortened(value: object, limit: int = 60) -> str:
    """The value as messages quote it, cut after `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Names as messages list them, with the number of those left out."""
    words = [str(name) for name in names]
    rest = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {rest} more" if rest > 0 else "")


def quoted(names: Iterable[object], limit: int = 12) -> str:
    """Names as messages list them, each in quotes."""
    return listed((shortened(name) for name in names), limit)
