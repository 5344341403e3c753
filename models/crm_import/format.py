"""The `[format]` tables of a CRM mapping: encoding, delimiter, and how dates and numbers are written."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.crm_import.forms import NumberForm
from models.crm_import.problems import quoted, shortened

#: Python's codecs that read no files: they are for host names and source code.
_NO_FILE_ENCODINGS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}


class Strict(BaseModel):
    """A TOML table that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, table: object) -> object:
        if isinstance(table, dict):
            unknown = [key for key in table if key not in cls.model_fields]
            if unknown:
                raise ValueError(f"unknown key {quoted(unknown)}; known here are {quoted(cls.model_fields, 20)}")
        elif not isinstance(table, cls):
            raise ValueError(f"expected a table, got {shortened(table)}")
        return table


def _encoding(name: str) -> str:
    try:
        # Not of text (as rot13): LookupError. Four zeros are a character or more in every encoding.
        bytes(4).decode(name)
        codec = codecs.lookup(name).name.replace("_", "-")
    except (LookupError, ValueError):
        codec = ""
    if not codec or codec in _NO_FILE_ENCODINGS:
        raise ValueError(f"expected an encoding such as utf-8, cp1252 or utf-16, got {shortened(name)}")
    return "utf-8" if codec == "utf-8-sig" else codec


def _delimiter(character: str) -> str:
    if len(character) != 1 or character in '"\r\n\0':
        raise ValueError(f'expected one character such as "," ";" "\\t" "|", got {shortened(character)}')
    return character


def _date_format(date_format: str) -> str:
    """A strptime format that tells the day: it must bring back a date it wrote."""
    day = datetime(2017, 4, 23, tzinfo=UTC)
    has_year = "%y" in date_format.lower()
    try:
        # Asked first, as strptime without a year is deprecated and warns.
        if has_year and datetime.strptime(day.strftime(date_format), date_format).replace(tzinfo=UTC) == day:
            return date_format
    except ValueError:
        pass
    raise ValueError(
        "expected a strptime format with day, month and year that reads what it writes, such as "
        f"%d-%m-%y or %d.%m.%Y %H:%M, got {shortened(date_format)}"
    )


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as UTC or Europe/Vienna, got {shortened(name)}") from None
    return name


def _sign(sign: str) -> str:
    if not sign.strip() or any(character.isdigit() or character in "+-.," for character in sign.strip()):
        raise ValueError(f'expected a sign such as "$" or "EUR", got {shortened(sign)}')
    return sign.strip()


def as_list(value: object) -> object:
    """One value stands for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


DateFormat = Annotated[str, AfterValidator(_date_format)]
Decimals = Literal[".", ","]
Thousands = Literal[",", ".", " ", "'"]
Signs = Annotated[tuple[Annotated[str, AfterValidator(_sign)], ...], BeforeValidator(as_list)]


class Form(Strict):
    """How dates and numbers are written: in a whole file, or in one column where that differs."""

    date_format: DateFormat | None = None
    decimal: Decimals | None = None
    thousands: Thousands | None = None
    currency: Signs = ()
    round: bool = False

    def over(self, other: Form) -> Self:
        """This one, with the other's values where this one sets none.

        Raises:
            ValueError: when the number's form contradicts itself then.
        """
        inherited = {
            key: getattr(other, key)
            for key in other.model_fields_set
            if key in type(self).model_fields and key not in self.model_fields_set
        }
        merged = self.model_copy(update=inherited)
        if merged.thousands is not None and merged.decimal is None:
            raise ValueError(f'thousands = "{merged.thousands}" needs decimal = "." or "," beside it')
        if merged.thousands is not None and merged.thousands == merged.decimal:
            raise ValueError(f'decimal and thousands are both "{merged.decimal}": expected two different marks')
        return merged

    @property
    def number(self) -> NumberForm | None:
        """The form of numbers, or None when it is not declared."""
        return NumberForm(self.decimal, self.thousands, self.currency) if self.decimal else None


class Format(Form):
    """How a file is written."""

    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    delimiter: Annotated[str, AfterValidator(_delimiter)] = ","
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    empty: tuple[str, ...] = Field(default=(), description="Words that stand for an empty field.")
