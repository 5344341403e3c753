"""The mapping of a CRM import, a small TOML file: which column of which CSV file becomes what.

    max_rejected = "50%"                     # of a file's rows, or a number of rows; above it nothing is loaded

    [format]                                 # of every file; [customers.format], ... set what differs in one
    encoding = "utf-8"                       # a UTF-8 byte-order mark is skipped; UTF-16 has to be declared
    delimiter = ","
    date_format = "%d-%m-%y"                 # strptime; %y is 1969 to 2068, %b an English month; else only ISO 8601
    timezone = "UTC"                         # of times that name no offset
    decimal = "."                            # without it only numbers with one reading are read
    thousands = ","
    currency = ["$", "EUR"]                  # signs beside numbers
    round = true                             # to cents; without it more than two decimals are refused
    empty = ["NULL", "n/a"]                  # words that stand for an empty field

    [customers]
    file = "accounts.csv"                    # relative to the data's folder
    [customers.columns]                      # name; optional: id (else made of the name), email, tier, created_at,
                                             # unsubscribed_at
    name = "account"
    email = { template = "info@{account:slug}.example" }
    tier = { column = "revenue", thresholds = { vip = 5000, premium = 1000 } }

    [opportunities]
    file = "sales.csv"
    unknown_customer = "reject"              # or "create"; not the default, as a slip of the pen makes no customer
    replace = { product = { GTXPro = "GTX Pro" } }
    [opportunities.columns]                  # id, title; optional: customer (name) or customer_id, status, ...
    id = "opportunity_id"
    title = [{ template = "{product} for {account}" }, { template = "{product}" }]
    status = { column = "stage", values = { Prospecting = "new", Won = "won" } }
    estimated_value = ["close_value", { column = "product", lookup = "prices" }]
    expected_close = ["close_date", { column = "engage_date", add_days = 90 }]

    [lookups.prices]
    file = "products.csv"
    key = "product"
    value = "sales_price"

White space around a text does not count, names and titles are put on one line, a record without any text is skipped.

A field takes a column's name, a table, or a list of them, of which the first that is not empty wins; a template is
empty when one of its columns is. A field that is not mapped is left as it is, or to the table's default. One that
comes out empty is NULL, and where the table needs a value the row is rejected: end the list with
`{ value = "standard" }`.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from models.crm_import.format import Form, Format, Strict, as_list
from models.crm_import.problems import CrmMappingError, quoted, shortened
from models.crm_import.sources import DateSource, NumberSource, Source, StatusSource, TextSource, TierSource


def _sources(value: object) -> object:
    """A column's name stands for that column, one source for a list of one."""
    sources = as_list(value)
    if not isinstance(sources, list) or not sources:
        raise ValueError("expected a column's name, a table or a list of them, got an empty list")
    return [{"column": source} if isinstance(source, str) else source for source in sources]


def _file(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError(f"expected a file's name, got {name!r}")
    return name


def _limit(limit: object) -> object:
    """A number of rows, or a share of a file's rows in percent."""
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        return limit
    if isinstance(limit, str) and limit.endswith("%"):
        number = limit[:-1].strip()
        if number.replace(".", "", 1).isdecimal() and float(number) <= 100:
            return f"{number}%"
    raise ValueError(f'expected a number of rows, zero or more, or a share such as "5%", got {shortened(limit)}')


FileName = Annotated[str, AfterValidator(_file)]
Limit = Annotated[int | str, BeforeValidator(_limit)]
Texts = Annotated[tuple[TextSource, ...], BeforeValidator(_sources)]
Statuses = Annotated[tuple[StatusSource, ...], BeforeValidator(_sources)]
Tiers = Annotated[tuple[TierSource, ...], BeforeValidator(_sources)]
Numbers = Annotated[tuple[NumberSource, ...], BeforeValidator(_sources)]
Dates = Annotated[tuple[DateSource, ...], BeforeValidator(_sources)]


class Columns(Strict):
    """The fields of a table, each with its sources, the first that is not empty first."""

    @property
    def mapped(self) -> dict[str, tuple[Source, ...]]:
        """The fields that have sources."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: sources for name, sources in fields.items() if sources is not None}


class CustomerColumns(Columns):
    """The fields of a customer; without `id` it is made of the name."""

    id: Texts | None = None
    name: Texts
    email: Texts | None = None
    tier: Tiers | None = None
    created_at: Dates | None = None
    unsubscribed_at: Dates | None = None


class OpportunityColumns(Columns):
    """The fields of an opportunity; its customer is found by name or by id, or is NULL where both are empty."""

    id: Texts
    title: Texts
    customer: Texts | None = None
    customer_id: Texts | None = None
    status: Statuses | None = None
    estimated_value: Numbers | None = None
    expected_close: Dates | None = None
    created_at: Dates | None = None

    @model_validator(mode="after")
    def _one_customer(self) -> Self:
        if self.customer is not None and self.customer_id is not None:
            raise ValueError("expected customer (a name) or customer_id, got both")
        return self


class CsvTable(Strict):
    """A CSV file, how it is written where that differs from `[format]`, and what is put right in its columns."""

    file: FileName
    format: Format = Format()
    replace: dict[str, dict[str, str]] = Field(default={}, description="By column: what stands there, and for what.")


class Customers(CsvTable):
    """The file of the customers."""

    columns: CustomerColumns


class Opportunities(CsvTable):
    """The file of the opportunities."""

    columns: OpportunityColumns
    unknown_customer: Literal["reject", "create"] = "reject"

    @model_validator(mode="after")
    def _create_needs_names(self) -> Self:
        if self.unknown_customer == "create" and self.columns.customer is None:
            raise ValueError('unknown_customer = "create" needs the column `customer`: a customer is made of its name')
        return self


class Lookup(CsvTable):
    """A file that has a value for each key."""

    key: str = Field(min_length=1)
    value: str = Field(min_length=1)


class CrmMapping(Strict):
    """What a CRM import reads and what becomes of it; see the module for the TOML."""

    format: Format = Format()
    customers: Customers | None = None
    opportunities: Opportunities | None = None
    lookups: dict[str, Lookup] = {}
    max_rejected: Limit = Field(
        default="50%",
        description="Rejected rows of one file above which nothing is loaded. Half the rows are a wrong mapping.",
    )

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.customers is None and self.opportunities is None:
            raise ValueError("expected a table [customers] or [opportunities], got neither")
        for section, table in self.tables().items():
            try:
                self.format_of(table)
                for source in (source for sources in self.sources_of(table).values() for source in sources):
                    self.form_of(source, table)
            except ValueError as error:
                raise ValueError(f"[{section}]: {error}") from None
        return self

    def tables(self) -> dict[str, CsvTable]:
        """Every file of the mapping by the name of its TOML table."""
        named: dict[str, CsvTable | None] = {"customers": self.customers, "opportunities": self.opportunities}
        named |= {f"lookups.{name}": lookup for name, lookup in self.lookups.items()}
        return {name: table for name, table in named.items() if table is not None}

    def format_of(self, table: CsvTable) -> Format:
        """How the table's file is written: its own format over the mapping's."""
        return table.format.over(self.format)

    @staticmethod
    def sources_of(table: CsvTable) -> dict[str, tuple[Source, ...]]:
        """The sources of the table's fields; a lookup has none."""
        return table.columns.mapped if isinstance(table, Customers | Opportunities) else {}

    def form_of(self, source: Source, table: CsvTable) -> Form:
        """How the source's dates and numbers are written; those of a lookup are as its own file has them.

        Raises:
            ValueError: when the form contradicts itself, or there is no such lookup.
        """
        lookup = getattr(source, "lookup", None)
        if lookup is not None and lookup not in self.lookups:
            known = f"those there are: {quoted(self.lookups)}" if self.lookups else "there is no [lookups] table"
            raise ValueError(f"expected the name of a lookup ({known}), got {lookup!r}")
        return source.form(self.format_of(self.lookups[lookup] if lookup is not None else table))


def load_mapping(path: Path) -> CrmMapping:
    """The mapping of a TOML file.

    Raises:
        CrmMappingError: naming each TOML key that cannot be used, what was expected and what came.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CrmMappingError(f"{path}: expected a mapping in TOML, got {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise CrmMappingError(f"{path}: expected UTF-8, as TOML is, got {error.reason} at byte {error.start}") from None
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, ArithmeticError) as error:
        raise CrmMappingError(f"{path}: expected TOML, got a mistake: {error}") from None
    return read_mapping(table, name=str(path))


def read_mapping(table: dict[str, Any], *, name: str = "the mapping") -> CrmMapping:
    """The mapping of a table as tomllib reads it.

    Raises:
        CrmMappingError: as `load_mapping`.
    """
    try:
        return CrmMapping.model_validate(table)
    except ValidationError as error:
        problems = [f"  {_explained(problem, table)}" for problem in error.errors()]
        raise CrmMappingError("\n".join([f"{name} cannot be used:", *problems])) from None


def _explained(problem: ErrorDetails, table: object) -> str:
    key = ""
    for part in problem["loc"]:
        if isinstance(part, int):
            if not isinstance(table, list):
                continue  # a source that stands alone has no number in the TOML
            key += f"[{part}]"
            table = table[part] if part < len(table) else None
        else:
            key += f".{part}" if key else str(part)
            table = table.get(part) if isinstance(table, dict) else None
    place = f"{key}: " if key else ""
    if problem["type"] == "missing":
        return f"{place}expected a value, got nothing"
    if problem["type"] == "value_error":
        return place + problem["msg"].removeprefix("Value error, ")
    expected = problem["msg"].replace("Input should be", "expected")
    return f"{place}{expected}, got {shortened(problem['input'])}"
