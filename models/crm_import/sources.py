"""Where a field of a CRM import comes from: a column, a template over columns, or a constant; one class per kind."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from string import Formatter
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from models.crm import CUSTOMER_TIERS, OpportunityStatus
from models.crm_import.format import DateFormat, Decimals, Form, Signs, Strict, Thousands
from models.crm_import.problems import listed, shortened

#: A text, then the column that follows it (None at the end) and how it is written: as it is, or as a slug.
TemplatePart = tuple[str, str | None, str]


class Template(Strict):
    """A text with columns in braces: `{account}`, or `{account:slug}` for lower-case letters, digits and hyphens."""

    text: str

    @property
    def parts(self) -> list[TemplatePart]:
        return [(text, column, spec or "") for text, column, spec, _ in Formatter().parse(self.text)]

    @property
    def columns(self) -> list[str]:
        return [column for _, column, _ in self.parts if column is not None]


def _template(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"expected a text with columns in braces, got {shortened(value)}")
    try:
        parsed = list(Formatter().parse(value))
    except ValueError as error:
        raise ValueError(f"expected columns in braces (a brace itself is doubled), got {value!r}: {error}") from None
    for _, column, spec, conversion in parsed:
        if column is not None and (not column or conversion or spec not in ("", "slug")):
            raise ValueError(f"expected {{column}} or {{column:slug}} in the braces, got {value!r}")
    if not any(column for _, column, _, _ in parsed):
        raise ValueError(f"expected at least one column in braces, got {value!r}")
    return {"text": value}


def _tier(value: str) -> str:
    if value not in CUSTOMER_TIERS:
        raise ValueError(f"expected one of {listed(CUSTOMER_TIERS)}, got {shortened(value)}")
    return value


def _status(value: str) -> str:
    if value not in list(OpportunityStatus):
        raise ValueError(f"expected one of {listed(OpportunityStatus)}, got {shortened(value)}")
    return value


Tier = Annotated[str, AfterValidator(_tier)]
Status = Annotated[str, AfterValidator(_status)]


class Source(Strict):
    """What all sources share: exactly one of the keys in `origins` says where the value comes from."""

    origins: ClassVar[tuple[str, ...]] = ("column", "value")

    column: str | None = Field(default=None, min_length=1)
    value: Any = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [key for key in self.origins if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of {listed(self.origins)}, got {listed(given) or 'none'}")
        others = sorted(self.model_fields_set - set(self.origins))
        if given != ["column"] and others:
            raise ValueError(f"{listed(others)}: expected beside a column, not beside a {given[0]}")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of the file it reads."""
        return [self.column] if self.column else []

    def form(self, file: Form) -> Form:
        """How this column's dates and numbers are written: as the file's, but for what is set here."""
        own = self.model_fields_set & Form.model_fields.keys()
        return Form(**{key: getattr(self, key) for key in own}).over(file)


class TextSource(Source):
    """A text: a name, an id, a title, an address."""

    origins = ("column", "template", "value")

    template: Annotated[Template, BeforeValidator(_template)] | None = None
    value: str | None = Field(default=None, min_length=1)
    values: dict[str, str] | None = None
    lookup: str | None = None

    @property
    def columns(self) -> list[str]:
        return self.template.columns if self.template else super().columns


class StatusSource(Source):
    """An opportunity's status, with the words the file has for them."""

    value: Status | None = None
    values: dict[str, Status] | None = None


class Thresholds(Strict):
    """The least number for each tier; below both it is `standard`."""

    vip: Decimal
    premium: Decimal

    @model_validator(mode="after")
    def _descend(self) -> Self:
        if self.vip <= self.premium:
            raise ValueError(f"expected vip above premium, got vip = {self.vip} and premium = {self.premium}")
        return self

    def tier(self, number: Decimal) -> str:
        return "vip" if number >= self.vip else "premium" if number >= self.premium else "standard"


class TierSource(Source):
    """A customer's tier: the file's words for them, or derived from a number."""

    value: Tier | None = None
    values: dict[str, Tier] | None = None
    thresholds: Thresholds | None = None
    decimal: Decimals | None = None
    thousands: Thousands | None = None
    currency: Signs = ()

    @model_validator(mode="after")
    def _words_or_numbers(self) -> Self:
        if self.values is not None and self.thresholds is not None:
            raise ValueError("expected values (for words) or thresholds (for numbers), got both")
        return self


class NumberSource(Source):
    """An amount of money, zero or more, with two decimals."""

    value: Decimal | None = Field(default=None, ge=0, max_digits=12, decimal_places=2)
    lookup: str | None = None
    decimal: Decimals | None = None
    thousands: Thousands | None = None
    currency: Signs = ()
    round: bool = False


class DateSource(Source):
    """A day or a moment, and so many days after it."""

    value: date | None = None
    add_days: int = Field(default=0, ge=-36_500, le=36_500)
    date_format: DateFormat | None = None

    @property
    def moment(self) -> datetime | None:
        """The constant, at midnight."""
        return None if self.value is None else datetime.combine(self.value, time())
