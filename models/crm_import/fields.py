"""Fields of a customer or an opportunity, read from a record: each tries its sources and converts the first text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from models.crm import CUSTOMER_TIERS, OpportunityStatus
from models.crm_import.cells import Cells
from models.crm_import.files import CsvFile, Record
from models.crm_import.forms import in_utc, plausible
from models.crm_import.limits import checked_address, checked_id, checked_line, checked_money
from models.crm_import.lookups import LookupTable
from models.crm_import.mapping import CrmMapping, CsvTable
from models.crm_import.names import slug
from models.crm_import.problems import CrmMappingError, RowProblem, UnansweredQuestion, quoted, shortened
from models.crm_import.questions import Questions
from models.crm_import.readers import DateReader, NumberReader
from models.crm_import.sources import DateSource, NumberSource, Source, StatusSource, TextSource, TierSource

#: What a cell's text on a line means, before the table's limits; raises ValueError.
Parse = Callable[[str, int], Any]
#: The value as the table takes it; raises ValueError where it cannot.
Finish = Callable[[Any], Any]
#: A field's value in a record, or None when it is empty; raises RowProblem or UnansweredQuestion.
FieldReader = Callable[[Record], Any]

#: Fields without which there is no row.
REQUIRED = frozenset({"id", "name", "title", "status", "tier"})


class Fields:
    """The mapped fields of one file.

    Attributes:
        names: the fields in the order in which `values` gives them.
    """

    def __init__(
        self,
        section: str,
        file: CsvFile,
        table: CsvTable,
        mapping: CrmMapping,
        lookups: Mapping[str, LookupTable],
        questions: Questions,
    ) -> None:
        self._section = section
        self._file = file
        self._table = table
        self._mapping = mapping
        self._lookups = lookups
        self._questions = questions
        self._zone = ZoneInfo(mapping.format_of(table).timezone)
        self._cells = Cells(file, table, mapping.format_of(table))
        self._sources = mapping.sources_of(table)
        self.names = list(self._sources)
        self._readers = {name: self._field(name, sources) for name, sources in self._sources.items()}

    def values(self, record: Record) -> dict[str, Any]:
        """The record's fields.

        Raises:
            RowProblem: for the first one that the table cannot take.
            UnansweredQuestion: when the mapping does not say how one is written.
        """
        if record.problem is not None:
            raise record.problem
        values: dict[str, Any] = {}
        unanswered: UnansweredQuestion | None = None
        for name, reader in self._readers.items():
            try:
                values[name] = reader(record)
            except UnansweredQuestion as question:
                unanswered = question  # the other fields may have questions too
        if unanswered is not None:
            raise unanswered
        return values

    def problem(self, record: Record, field: str, reason: str) -> RowProblem:
        """What rejects the record because of this field."""
        columns = self._columns(field)
        return RowProblem(", ".join(columns), reason, ", ".join(self._cells.raw(record, name) for name in columns))

    def _columns(self, field: str) -> list[str]:
        return list(dict.fromkeys(column for source in self._sources[field] for column in source.columns))

    def _field(self, name: str, sources: tuple[Source, ...]) -> FieldReader:
        readers = [self._source(name, source) for source in sources]

        def read(record: Record) -> Any:
            for reader in readers:
                value = reader(record)
                if value is not None:
                    return value
            if name in REQUIRED:
                raise self.problem(record, name, f"the {name} is empty, and there is no row without one")
            return None

        return read

    def _source(self, name: str, source: Source) -> FieldReader:
        finish = self._finish(name, source)
        if isinstance(source, TextSource) and source.template is not None:
            return self._template(source, finish)
        if source.column is None:
            return self._constant(name, source, finish)
        cell, column, parse = self._cells.reader(source.column), source.column, self._parse(source)

        def read(record: Record) -> Any:
            text = cell(record)
            if text is None:
                return None
            try:
                return finish(parse(text, record.line))
            except ValueError as error:
                raise RowProblem(column, str(error), self._cells.raw(record, column)) from None

        return read

    def _template(self, source: TextSource, finish: Finish) -> FieldReader:
        assert source.template is not None
        parts = [
            (text, self._cells.reader(column) if column is not None else None, spec)
            for text, column, spec in source.template.parts
        ]

        def read(record: Record) -> Any:
            written = ""
            for text, cell, spec in parts:
                written += text
                if cell is not None:
                    found = cell(record)
                    if found is None:
                        return None
                    written += slug(found) if spec else found
            try:
                return finish(written)
            except ValueError as error:
                raise RowProblem(", ".join(source.columns), str(error), written) from None

        return read

    def _constant(self, name: str, source: Source, finish: Finish) -> FieldReader:
        try:
            constant = finish(source.moment if isinstance(source, DateSource) else source.value)
        except ValueError as error:
            raise CrmMappingError(f"{self._section}.columns.{name}.value: {error}") from None
        return lambda _: constant

    def _parse(self, source: Source) -> Parse:
        if isinstance(source, DateSource):
            section, file, column = self._origin(source)
            question = self._questions.about_dates(file, column, section)
            return DateReader(self._mapping.form_of(source, self._table).date_format, question)
        if isinstance(source, TierSource) and source.thresholds is not None:
            tier, number = source.thresholds.tier, self._number(source)
            return lambda text, line: tier(number(text, line))
        if isinstance(source, TierSource):
            return _word(source.values, CUSTOMER_TIERS)
        if isinstance(source, StatusSource):
            return _word(source.values, tuple(OpportunityStatus))
        parse = self._number(source) if isinstance(source, NumberSource) else _as_it_is
        if isinstance(source, TextSource) and source.values is not None:
            return _word(source.values, ())
        if isinstance(source, TextSource | NumberSource) and source.lookup is not None:
            return _looked_up(self._lookups[source.lookup], parse)
        return parse

    def _number(self, source: Source) -> NumberReader:
        section, file, column = self._origin(source)
        form = self._mapping.form_of(source, self._table)
        return NumberReader(form.number, self._questions.about_numbers(file, column, section), form.currency)

    def _origin(self, source: Source) -> tuple[str, str, str]:
        """The TOML table, the file and the column that the source's numbers and dates stand in."""
        name = getattr(source, "lookup", None)
        if name is not None:
            return f"lookups.{name}", self._lookups[name].file, self._lookups[name].column
        return self._section, self._file.name, str(source.column)

    def _finish(self, name: str, source: Source) -> Finish:
        if isinstance(source, NumberSource):
            rounded = self._mapping.form_of(source, self._table).round
            return lambda number: checked_money(number, rounded=rounded)
        if isinstance(source, DateSource):
            later, zone = timedelta(days=source.add_days), self._zone
            if name == "expected_close":
                return lambda moment: plausible(moment + later).date()
            return lambda moment: in_utc(plausible(moment + later), zone)
        if isinstance(source, TextSource):
            return {"id": checked_id, "customer_id": checked_id, "email": checked_address}.get(name, checked_line)
        return _unchanged


def _as_it_is(text: str, line: int) -> str:
    return text


def _unchanged(value: Any) -> Any:
    return value


def _word(words: Mapping[str, str] | None, own: tuple[str, ...]) -> Parse:
    """One of the mapping's words, or, where it has none, of the table's own."""
    known = words if words is not None else dict(zip(own, own, strict=True))

    def parse(text: str, line: int) -> str:
        if text not in known:
            raise ValueError(f"expected one of {quoted(known)}, got {shortened(text)}")
        return known[text]

    return parse


def _looked_up(lookup: LookupTable, parse: Parse) -> Parse:
    def found(text: str, line: int) -> Any:
        entry = lookup[text]
        try:
            return parse(entry.text, entry.line)
        except ValueError as error:
            raise ValueError(f"{lookup.file}, line {entry.line}, column {lookup.column!r}: {error}") from None

    return found
