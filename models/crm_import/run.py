"""Import of customers and opportunities from CSV files, as a mapping says: in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from sqlmodel import Session

from models.crm_import.cells import Cells
from models.crm_import.directory import CustomerDirectory
from models.crm_import.fields import Fields
from models.crm_import.files import CsvFile, Dialect, Record
from models.crm_import.lookups import LookupTable
from models.crm_import.mapping import CrmMapping, CsvTable, Lookup, load_mapping
from models.crm_import.names import customer_id
from models.crm_import.problems import ImportRunningError, RowProblem, TooManyRejectedError, UnansweredQuestion
from models.crm_import.questions import Questions
from models.crm_import.rejections import Rejections
from models.crm_import.transaction import joined_transaction
from models.crm_import.upsert import Table, Upsert

#: Rows of one statement. From 250 to 20,000 an import takes the same time (8,800 rows 0.4 s, 200,000 rows about 11 s);
#: this keeps memory small and a progress bar moving.
CHUNK = 1000
#: One import at a time: two that meet would wait for each other's rows in different orders.
_IMPORT_LOCK = 0x63726D696D706F72

Row = dict[str, Any]
#: Called with the bytes read so far and the bytes of all files.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TableCounts:
    """What became of a file's rows: `read` is the sum of the other four."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        customers_created: customers made of a name that only opportunities had (`unknown_customer = "create"`).
        report: the list of the rejected rows; None when none were and no report was asked for.
    """

    customers: TableCounts = TableCounts()
    opportunities: TableCounts = TableCounts()
    customers_created: int = 0
    report: Path | None = None


def import_crm(
    mapping: CrmMapping | Path,
    *,
    folder: Path | None = None,
    on: Session | psycopg.Connection[Any] | None = None,
    progress: Progress | None = None,
    report: Path | None = None,
) -> ImportResult:
    """Loads the mapping's files; a second import of the same files changes nothing.

    Args:
        mapping: the mapping, or the path of its TOML file (see `models.crm_import.mapping`).
        folder: where the files are; by default the folder of the TOML file, or the current one.
        on: a session or connection whose transaction the import is part of; by default it has its own.
        progress: called with the bytes read so far and in all, after every thousand rows and at the end.
        report: where the rejected rows are listed (file, line, column, reason, value); by default in the data
            folder's `imports`, if there are any.

    Raises:
        CrmImportError: when the mapping or a file cannot be used, a value has more than one reading, too many rows
            were rejected, or another import is running. Nothing was loaded then.
    """
    if isinstance(mapping, Path):
        folder = mapping.parent if folder is None else folder
        mapping = load_mapping(mapping)
    rejections = Rejections(report)
    try:
        with joined_transaction(on) as connection, ExitStack() as files:
            return _Import(mapping, folder or Path(), connection, rejections, progress, files).run()
    finally:
        rejections.discard()


class _Import:
    def __init__(
        self,
        mapping: CrmMapping,
        folder: Path,
        connection: psycopg.Connection[Any],
        rejections: Rejections,
        progress: Progress | None,
        stack: ExitStack,
    ) -> None:
        self._mapping = mapping
        self._connection = connection
        self._rejections = rejections
        self._progress = progress
        self._questions = Questions()
        # Every header is checked before the first row is read.
        self._files = {
            section: _opened(mapping, folder, section, table, stack) for section, table in mapping.tables().items()
        }
        self._lookups: dict[str, LookupTable] = {}
        create = mapping.opportunities is not None and mapping.opportunities.unknown_customer == "create"
        self._directory = CustomerDirectory(connection, create_unknown=create)
        self._customers_created = 0

    def run(self) -> ImportResult:
        self._lock()
        for name, lookup in self._mapping.lookups.items():
            file = self._files[f"lookups.{name}"]
            self._lookups[name] = LookupTable(file, lookup, Cells(file, lookup, self._mapping.format_of(lookup)))
        customers = self._load("customers", self._mapping.customers)
        opportunities = self._load("opportunities", self._mapping.opportunities)
        self._questions.check()
        self._check_rejected("customers", customers)
        self._check_rejected("opportunities", opportunities)
        self._report_progress()
        return ImportResult(customers, opportunities, self._customers_created, self._rejections.publish())

    def _lock(self) -> None:
        cursor = self._connection.cursor(row_factory=tuple_row)
        if cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_IMPORT_LOCK]).fetchone() != (True,):
            raise ImportRunningError("another import into this database is running: wait until it has ended")

    def _load(self, section: Table, table: CsvTable | None) -> TableCounts:
        if table is None:
            return TableCounts()
        file = self._files[section]
        fields = Fields(section, file, table, self._mapping, self._lookups, self._questions)
        upsert = Upsert(section, _stored_fields(fields.names))
        lines: dict[str, int] = {}
        chunk: list[Row] = []
        read = rejected = inserted = updated = 0

        def store() -> None:
            nonlocal inserted, updated
            # While a question is open all that follows is only read for further ones.
            if chunk and not self._questions.asked:
                self._customers_created += self._directory.store_created()
                chunk_inserted, chunk_updated = upsert.run(self._connection, chunk)
                inserted, updated = inserted + chunk_inserted, updated + chunk_updated
            chunk.clear()
            self._report_progress()

        for record in file.records():
            read += 1
            try:
                chunk.append(self._row(fields, record, lines))
            except RowProblem as problem:
                rejected += 1
                self._rejections.add(file.name, record.line, problem)
            except UnansweredQuestion:
                continue
            if len(chunk) == CHUNK:
                store()
        store()
        return TableCounts(read, inserted, updated, read - rejected - inserted - updated, rejected)

    def _row(self, fields: Fields, record: Record, lines: dict[str, int]) -> Row:
        """The record as a row of its table; `lines` has where the ids before it stand, and gets this one's."""
        row = fields.values(record)
        identified_by = "id" if "id" in row else "name"
        if "id" not in row:
            row["id"] = customer_id(row["name"])
        if row["id"] in lines:
            raise fields.problem(record, identified_by, f"the same {identified_by} as on line {lines[row['id']]}")
        if "name" in row:
            self._directory.add(row["id"], row["name"])
        else:
            self._find_customer(fields, record, row)
        lines[row["id"]] = record.line
        return row

    def _find_customer(self, fields: Fields, record: Record, row: Row) -> None:
        """Turns the customer's name or id into that of a customer there is; an empty one stays NULL."""
        field = "customer" if "customer" in row else "customer_id"
        named = row.pop(field, None)
        find = self._directory.by_name if field == "customer" else self._directory.by_id
        try:
            row["customer_id"] = None if named is None else find(named)
        except ValueError as error:
            raise fields.problem(record, field, str(error)) from None

    def _check_rejected(self, section: str, counts: TableCounts) -> None:
        limit = self._mapping.max_rejected
        allowed = limit if isinstance(limit, int) else float(limit.removesuffix("%")) * counts.read / 100
        if counts.rejected > allowed:
            report = self._rejections.publish()
            raise TooManyRejectedError(
                f"{self._files[section].name}: {counts.rejected:,} of {counts.read:,} rows were rejected, and the "
                f"mapping allows max_rejected = {limit}: nothing was loaded. The first ones:\n  "
                + "\n  ".join(self._rejections.examples[self._files[section].name])
                + f"\nAll are listed in {report}. Correct the mapping or the file, or allow more.",
                report=report,
            )

    def _report_progress(self) -> None:
        if self._progress is not None:
            files = self._files.values()
            self._progress(sum(file.position for file in files), sum(file.size for file in files))


def _opened(mapping: CrmMapping, folder: Path, section: str, table: CsvTable, stack: ExitStack) -> CsvFile:
    """The table's file with its header checked for every column that the mapping uses."""
    form = mapping.format_of(table)
    dialect = Dialect(form.encoding, form.delimiter, f"{section}.format")
    file = stack.enter_context(CsvFile(folder, table.file, dialect))
    used = [column for sources in mapping.sources_of(table).values() for source in sources for column in source.columns]
    if isinstance(table, Lookup):
        used += [table.key, table.value]
    file.require([*used, *table.replace])
    return file


def _stored_fields(names: list[str]) -> list[str]:
    """The table's columns that the fields fill: the id always, and a customer's name as its id."""
    columns = ["customer_id" if name == "customer" else name for name in names]
    return columns if "id" in columns else ["id", *columns]
