"""Rejections of a CRM import: the report of the rows that were left out, a CSV file that appears when it is whole."""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from models.crm_import.problems import CrmFileError, RowProblem
from models.formulas import is_formula, without_formulas_inside
from models.settings import settings

#: The report's columns.
REPORT_COLUMNS = ("file", "line", "column", "reason", "value")
#: Characters of a value that the report shows, and rejections that an error message quotes.
_SHOWN = 200
_QUOTED = 3
#: What begins as a formula does, and is none.
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)*")


class Rejections:
    """The rejected rows, written as they come to a file beside the report, which takes its place in `publish`.

    Attributes:
        examples: the first rejections of each file, in words.
    """

    def __init__(self, report: Path | None) -> None:
        """With a path the report is always written; without one it goes to the data folder when a row is rejected.

        Raises:
            CrmFileError: when the report cannot be written.
        """
        self.examples: defaultdict[str, list[str]] = defaultdict(list)
        self._report = report
        self._file: IO[str] | None = None
        self._writer: Any = None
        if report is not None:
            self._open(report)

    def add(self, file: str, line: int, problem: RowProblem) -> None:
        """Notes that the row which starts on this line is left out, and why."""
        if self._report is None:
            name = f"rejected-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.csv"
            self._report = settings().data_dir / "imports" / name
            self._open(self._report)
        if len(self.examples[file]) < _QUOTED:
            column = f", column {problem.column!r}" if problem.column else ""
            self.examples[file].append(f"{file}, line {line}{column}: {problem.reason}")
        self._writer.writerow([file, line, *map(_harmless, (problem.column, problem.reason, problem.value))])

    def publish(self) -> Path | None:
        """Puts the report in its place, whole, and returns where it is; None when there is none.

        Raises:
            CrmFileError: when it cannot be written.
        """
        if self._file is None or self._report is None:
            return None
        try:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._report)
        except OSError as error:
            raise _unwritable(self._report, error) from None
        self._file = None
        return self._report

    def discard(self) -> None:
        """Removes what was not published."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None

    def _open(self, report: Path) -> None:
        try:
            report.parent.mkdir(parents=True, exist_ok=True)
            if report.is_dir():
                raise IsADirectoryError(21, "it is a folder")
            # Readable by its owner only, as it holds customers' data.
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed in publish and discard
                "w",
                encoding="utf-8",
                errors="backslashreplace",
                newline="",
                dir=report.parent,
                prefix=f".{report.name[:50]}.",
                delete=False,
            )
        except OSError as error:
            raise _unwritable(report, error) from None
        self._writer = csv.writer(self._file)
        self._writer.writerow(REPORT_COLUMNS)


def _unwritable(report: Path, error: OSError) -> CrmFileError:
    return CrmFileError(
        f"{report}: expected a place for the report of rejected rows, but it cannot be written "
        f"({error.strerror or error}); nothing was loaded"
    )


def _harmless(text: str) -> str:
    """The text cut, without control characters, and as a text for spreadsheets even where it looks like a formula."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
    shown = "".join(c if c in "\n\r\t" or c >= " " else f"\\x{ord(c):02x}" for c in shown)
    shown = without_formulas_inside(shown)
    return f"'{shown}" if is_formula(shown) and not _NUMBER.fullmatch(shown) else shown
