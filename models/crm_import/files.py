"""CSV files as the mapping declares them: decoded, their header checked, read once, record by record."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from models.crm_import.problems import CrmFileError, RowProblem, listed, quoted

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 65_536


class Record(NamedTuple):
    """A record of a file: the physical line it starts on, its fields, and why it cannot be read, if so."""

    line: int
    fields: list[str]
    problem: RowProblem | None = None


@dataclass(frozen=True)
class Dialect:
    """How a file is written; `section` is the TOML table that says so."""

    encoding: str
    delimiter: str
    section: str


class CsvFile:
    """One CSV file, open for one pass; a context manager.

    Attributes:
        name: the file's name as the mapping gives it.
        columns: where each column of the header is.
        size: the file's size in bytes.
    """

    def __init__(self, folder: Path, name: str, dialect: Dialect) -> None:
        """Opens the file and reads its header.

        Raises:
            CrmFileError: when it cannot be opened or decoded, or the header is empty or names a column twice.
        """
        self.name = name
        self._path = folder / name
        self._dialect = dialect
        # A byte-order mark is no part of the first column's name.
        self._encoding = "utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding
        try:
            self._bytes = self._path.open("rb")
        except OSError as error:
            raise CrmFileError(self._missing(error)) from None
        try:
            self.size = self._path.stat().st_size
            self._refuse_undeclared_mark()
            self._text = io.TextIOWrapper(self._bytes, encoding=self._encoding, newline="")
            self._ended = False
            self._reader = csv.reader(self._lines(), delimiter=dialect.delimiter, strict=True)
            self.columns = self._header()
        except BaseException:
            self._bytes.close()
            raise

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._text.close()

    @property
    def position(self) -> int:
        """How many bytes were read so far."""
        return self.size if self._ended else self._bytes.tell()

    def require(self, columns: Iterable[str]) -> None:
        """Checks that the header has these columns.

        Raises:
            CrmFileError: naming those it lacks and those there are.
        """
        missing = [column for column in dict.fromkeys(columns) if column not in self.columns]
        if not missing:
            return
        close = [match for column in missing for match in get_close_matches(column, self.columns, n=1)]
        hint = f" Perhaps {quoted(close)} is meant." if close else ""
        if len(self.columns) == 1:
            hint = f" If columns are separated by another character, set delimiter under [{self._dialect.section}]."
        raise CrmFileError(
            f"{self.name}: the mapping uses the column {quoted(missing)}, "
            f"but the header has {quoted(self.columns, 40)}.{hint}"
        )

    def records(self) -> Iterator[Record]:
        """The records below the header, blank ones (no text in any field) left out.

        Raises:
            CrmFileError: when the bytes cannot be decoded, or an opened quote is never closed.
        """
        while True:
            start = self._reader.line_num + 1
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except UnicodeError:
                raise self._undecodable() from None
            except csv.Error as error:
                yield Record(start, [], self._malformed(start, error))
                continue
            if not any(fields):
                continue
            problem = self._wrong_width(start, fields) if len(fields) != len(self._names) else None
            yield Record(start, fields, problem)

    def _lines(self) -> Iterator[str]:
        yield from self._text
        self._ended = True

    def _header(self) -> dict[str, int]:
        try:
            header = next(self._reader, [])
        except UnicodeError:
            raise self._undecodable() from None
        except csv.Error as error:
            raise CrmFileError(f"{self.name}: the header on line 1 cannot be read: {error}.") from None
        # A codec of fixed byte order leaves the mark in the text.
        self._names = [name.removeprefix("\ufeff").strip() for name in header]
        named = [name for name in self._names if name]
        if not named:
            raise CrmFileError(f"{self.name}: expected the columns' names in the first line, got none.")
        twice = {name for name in named if named.count(name) > 1}
        if twice:
            raise CrmFileError(
                f"{self.name}: the header has the column {quoted(sorted(twice))} more than once, so it is "
                "not clear which one is meant: rename them in the file."
            )
        return {name: place for place, name in enumerate(self._names) if name}

    def _wrong_width(self, start: int, fields: list[str]) -> RowProblem:
        reason = f"expected {len(self._names)} fields as in the header, got {len(fields)}"
        if self._reader.line_num > start:
            reason += f" in the record from line {start} to {self._reader.line_num}: is a quote not closed?"
        return RowProblem("", reason, self._dialect.delimiter.join(fields))

    def _malformed(self, start: int, error: csv.Error) -> RowProblem:
        last = self._reader.line_num
        # Within one line the next record is found again; after a quote that took in more lines nobody knows where.
        if self._ended or last > start:
            raise CrmFileError(
                f'{self.name}: the record that starts on line {start} has an opening quote (") that is not closed as '
                f"it should be; reading gave up on line {last} ({error}). Close that quote, or double it."
            )
        return RowProblem("", f'the line cannot be read ({error}): a quote (") within quotes is doubled', "")

    def _missing(self, error: OSError) -> str:
        message = f"{self._path}: expected a CSV file, but it cannot be opened ({error.strerror or error})."
        folder = self._path.parent
        if isinstance(error, FileNotFoundError) and folder.is_dir():
            there = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".csv")
            message += f" CSV files in {folder}: {listed(there) if there else 'none'}."
        return f"{message} Name the data's folder, or correct `file` in the mapping."

    def _refuse_undeclared_mark(self) -> None:
        start = self._bytes.peek(4)[:4]
        declared = self._encoding.lower().replace("_", "-")
        for mark, encoding in _BYTE_ORDER_MARKS:
            if start.startswith(mark) and not declared.startswith(("utf-16", "utf-32")):
                raise CrmFileError(
                    f"{self.name}: the file starts with the byte-order mark of {encoding.upper()}, but is declared as "
                    f'{self._dialect.encoding}: put encoding = "{encoding}" into the mapping under '
                    f"[{self._dialect.section}]."
                )

    def _undecodable(self) -> CrmFileError:
        """Reads the file again, up to the first byte that is not in the encoding, to say where it is."""
        # The codec of utf-8-sig counts from behind the mark; that of utf-8 counts every byte.
        encoding = self._dialect.encoding
        decoder = codecs.getincrementaldecoder(encoding)()
        offset, line, problem = 0, 1, f"it is not {encoding}"
        with self._path.open("rb") as file:
            chunk = b" "
            while chunk:
                chunk = file.read(_CHUNK)
                held = len(decoder.getstate()[0])
                try:
                    line += decoder.decode(chunk, final=not chunk).count("\n")
                except UnicodeDecodeError as error:
                    line += error.object[: error.start].decode(encoding, "replace").count("\n")
                    byte = error.object[error.start : error.start + 1]
                    problem = f"the byte {byte!r} at offset {offset - held + error.start} (line {line}) "
                    problem += f"is not {encoding} ({error.reason})"
                    break
                except UnicodeError as error:
                    problem = str(error)
                    break
                offset += len(chunk)
        return CrmFileError(
            f"{self.name}: {problem}. Put the encoding the file was written with, such as "
            f'encoding = "cp1252", into the mapping under [{self._dialect.section}].'
        )
