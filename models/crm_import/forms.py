"""How numbers and dates are written: the forms a mapping declares, and reading a text in one form."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache

#: Dates outside of this are typing errors (0217-04-03), and not every client can read what PostgreSQL stores of them.
EARLIEST = date(1900, 1, 1)
LATEST = date(2199, 12, 31)
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
#: White space and apostrophes that look alike count as one thousands separator.
_LIKE = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}


@dataclass(frozen=True)
class NumberForm:
    """A number's decimal mark, thousands separator (None: has none) and the currency signs beside it."""

    decimal: str = "."
    thousands: str | None = None
    currency: tuple[str, ...] = ()

    def read(self, text: str) -> Decimal | None:
        """The number, or None when the text is not one in this form; digits are grouped by three or not at all."""
        match = _pattern(self).fullmatch(text)
        if match is None or (match["before"] and match["after"]):
            return None
        whole = re.sub(r"[^0-9]", "", match["whole"])
        number = Decimal(f"{whole or '0'}.{match['fraction']}" if match["fraction"] else whole)
        return -number if "-" in (match["sign"], match["inner"]) else number

    def beside(self, currency: tuple[str, ...]) -> NumberForm:
        """The same form with these currency signs."""
        return replace(self, currency=currency)

    def described(self) -> str:
        """The form as messages name it: the TOML's keys on one line."""
        signs = f", currency = [{', '.join(map(_toml, self.currency))}]" if self.currency else ""
        return f"{str(self).replace(chr(10), ', ')}{signs}"

    def __str__(self) -> str:
        """The TOML lines that declare the form, without its currency signs."""
        thousands = f"\nthousands = {_toml(self.thousands)}" if self.thousands is not None else ""
        return f"decimal = {_toml(self.decimal)}{thousands}"


@lru_cache(maxsize=256)
def _pattern(form: NumberForm) -> re.Pattern[str]:
    mark = re.escape(form.decimal)
    grouped = ""
    if form.thousands is not None:
        separator = f"[{re.escape(_LIKE.get(form.thousands, form.thousands))}]"
        grouped = rf"[1-9][0-9]{{0,2}}(?:{separator}[0-9]{{3}})+|"
    signs = "|".join(re.escape(sign) for sign in form.currency) or "(?!)"
    return re.compile(
        rf"(?P<sign>[+-]?)\s*(?P<before>(?:{signs})\s*)?(?P<inner>(?(before)[+-]?))"
        rf"(?=[0-9]|{mark}[0-9])(?P<whole>{grouped}[0-9]*)(?:{mark}(?P<fraction>[0-9]*))?"
        rf"(?P<after>\s*(?:{signs}))?"
    )


@lru_cache(maxsize=65_536)
def read_iso(text: str) -> datetime | None:
    """The moment an ISO 8601 date (midnight) or date and time names; None when the text is not in that form.

    Raises:
        ValueError: when it is, but there is no such day or time.
    """
    return datetime.fromisoformat(text) if _ISO.fullmatch(text) else None


@lru_cache(maxsize=65_536)
def read_date(text: str, date_format: str) -> datetime:
    """The moment in strptime's form (midnight where it has no time); `%y` is 1969 to 2068.

    Raises:
        ValueError: when the text does not fit the form, or there is no such day.
    """
    return datetime.strptime(text, date_format)


@lru_cache(maxsize=65_536)
def reads_date(text: str, date_format: str) -> bool:
    """Whether the text is a date in strptime's form."""
    try:
        read_date(text, date_format)
    except ValueError:
        return False
    return True


def plausible(moment: datetime) -> datetime:
    """The same moment.

    Raises:
        ValueError: when its year shows a typing error.
    """
    if not EARLIEST <= moment.date() <= LATEST:
        raise ValueError(f"expected a date from {EARLIEST} to {LATEST}, got {moment.date()}")
    return moment


def in_utc(moment: datetime, zone: tzinfo) -> datetime:
    """The moment in UTC; one that names no offset is a local time of the zone."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _toml(text: str) -> str:
    return f'"{text}"'
