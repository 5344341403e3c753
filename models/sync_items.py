"""Items of a JSON source: what a customer and an opportunity look like, and why one is left out.

A page is `{"items": [...], "next": "a cursor" or null}`, and optionally `"total"`, the number of items of the pass. An
item is the whole record, so a field left out is an empty one; fields not named here are ignored.

    customer     id, name, updated_at; optional: email, tier, unsubscribed_at, created_at
    opportunity  id, title, status, updated_at; optional: customer_id, estimated_value, expected_close, created_at

Texts and amounts must fit the CRM's tables (`models.crm_import.limits`); an amount is a number or decimal text, a
moment ISO 8601 with its offset (2026-03-01T09:30:00Z), a day YYYY-MM-DD.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StrictStr, ValidationError

from models.crm import CUSTOMER_TIERS, OpportunityStatus
from models.crm_import.forms import NumberForm, plausible, read_iso
from models.crm_import.limits import checked_address, checked_id, checked_line, checked_money
from models.crm_import.problems import listed, shortened
from models.outcomes import storable
from models.sync import Resource

#: A source that sends far more than it was asked for is not one that speaks this.
MOST_ITEMS = 5_000
CURSOR_LENGTH = 2_000
#: A page with more rejects than half its items is no page of ours; a small one may have as many as this.
REJECTS_ALWAYS_BORNE = 20
_SHOWN = 200
_NUMBER = NumberForm()


class PageError(Exception):
    """A page that cannot be used: no JSON, another shape, or too many of its items are left out. Nothing is stored."""


@dataclass(frozen=True, slots=True)
class Reject:
    """An item that is left out: its id or place, the field, why, and what stands there."""

    item: str
    field: str
    reason: str
    value: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the rows to store, each id once, and what is left out.

    Attributes:
        read: items there were; `total`: of the whole pass, where the source says so.
        next: the cursor of the next page, None after the last.
    """

    rows: list[dict[str, Any]]
    rejects: list[Reject]
    read: int
    next: str | None
    total: int | None


def _text(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected text, got {shortened(value)}")
    # Some sources send an empty text for nothing.
    return None if isinstance(value, str) and not value.strip() else value


def _amount(value: object) -> object:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _NUMBER.read(value.strip()) if len(value) <= _SHOWN else None
    if not isinstance(value, Decimal):
        raise ValueError("expected a number or decimal text such as 1234.50")
    return checked_money(value, rounded=False)


def _moment(value: object) -> object:
    if value is None or value == "":
        return None
    moment = read_iso(value) if isinstance(value, str) and len(value) <= _SHOWN else None
    if moment is None or moment.tzinfo is None:
        raise ValueError("expected a moment with its offset such as 2026-03-01T09:30:00Z")
    return plausible(moment).astimezone(UTC)


def _day(value: object) -> object:
    if value is None or value == "":
        return None
    moment = read_iso(value) if isinstance(value, str) and len(value) <= _SHOWN else None
    if moment is None:
        raise ValueError("expected a day such as 2026-03-01")
    return plausible(moment).date()


def _one_of(words: Sequence[str]) -> AfterValidator:
    def known(value: str) -> str:
        if value not in words:
            raise ValueError(f"expected one of {listed(words)}")
        return value

    return AfterValidator(known)


Id = Annotated[StrictStr, AfterValidator(checked_id), BeforeValidator(_text)]
Line = Annotated[StrictStr, AfterValidator(checked_line), BeforeValidator(_text)]
Address = Annotated[StrictStr, AfterValidator(checked_address)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: Id
    updated_at: Moment
    created_at: Annotated[datetime | None, BeforeValidator(_moment)] = None


class CustomerItem(_Item):
    """A customer as a source sends it."""

    name: Line
    email: Annotated[Address | None, BeforeValidator(_text)] = None
    tier: Annotated[StrictStr, _one_of(CUSTOMER_TIERS)] = "standard"
    unsubscribed_at: Annotated[datetime | None, BeforeValidator(_moment)] = None


class OpportunityItem(_Item):
    """An opportunity as a source sends it."""

    title: Line
    status: Annotated[StrictStr, _one_of(list(OpportunityStatus))]
    customer_id: Annotated[Annotated[StrictStr, AfterValidator(checked_id)] | None, BeforeValidator(_text)] = None
    estimated_value: Annotated[Decimal | None, BeforeValidator(_amount)] = None
    expected_close: Annotated[date | None, BeforeValidator(_day)] = None


_ITEMS: dict[Resource, type[_Item]] = {"customers": CustomerItem, "opportunities": OpportunityItem}


def parse_page(resource: Resource, body: bytes, *, latest: datetime, number: int = 1) -> Page:
    """A page as the source sent it.

    Args:
        latest: an item that says it changed after this is left out: all later word on it would be older.
        number: which page of the pass it is, from 1, for items without an id.

    Raises:
        PageError: when it is none.
    """
    page = _decoded(body)
    if not isinstance(page, dict) or not isinstance(page.get("items"), list):
        raise PageError(f'{resource}: expected {{"items": [...], "next": ...}}, got something else')
    items, cursor = page["items"], page.get("next")
    if len(items) > MOST_ITEMS:
        raise PageError(f"{resource}: expected at most {MOST_ITEMS:,} items on a page, got {len(items):,}")
    if cursor is not None and not _is_cursor(cursor):
        raise PageError(f"{resource}: next: expected null or a cursor, got {shortened(cursor)}")
    rows: dict[str, dict[str, Any]] = {}
    rejects: list[Reject] = []
    model = _ITEMS[resource]
    for place, item in enumerate(items, 1):
        row = _row(model, item, latest, f"page {number}, item {place}")
        if isinstance(row, Reject):
            rejects.append(row)
        elif row["id"] not in rows or rows[row["id"]]["updated_at"] <= row["updated_at"]:
            rows[row["id"]] = row
    return Page(list(rows.values()), rejects, len(items), cursor, _total(page.get("total")))


def check_share(resource: Resource, read: int, rejects: Sequence[Reject]) -> None:
    """Refuses a page of which too much is left out: the source, or our idea of it, is wrong then.

    Raises:
        PageError: naming the first rejects.
    """
    if len(rejects) > max(REJECTS_ALWAYS_BORNE, read // 2):
        first = "; ".join(f"{reject.item}: {reject.field}: {reject.reason}" for reject in rejects[:3])
        raise PageError(f"{resource}: {len(rejects)} of {read} items cannot be stored, so none is. The first: {first}")


def _decoded(body: bytes) -> Any:
    def number(text: str) -> Decimal | str:
        try:
            return Decimal(text)
        except ArithmeticError:  # an exponent beyond all bounds; its item is left out
            return text

    try:
        return json.loads(body, parse_int=number, parse_float=number, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise PageError(f"expected JSON, got a mistake: {error}"[:300]) from None


def _total(value: object) -> int | None:
    return int(value) if isinstance(value, Decimal) and 0 < value < 10**12 else None


def _is_cursor(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= CURSOR_LENGTH and value.isprintable()


def _row(model: type[_Item], item: object, latest: datetime, place: str) -> dict[str, Any] | Reject:
    if not isinstance(item, dict):
        return Reject(place, "", "expected an object", shortened(item, _SHOWN))
    try:
        row = model.model_validate(item).model_dump()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        reason = "expected a value, got nothing" if field and not item.get(field) else problem["msg"]
        return _reject(item, place, field, reason.removeprefix("Value error, "))
    if row["updated_at"] > latest:
        reason = f"expected a moment before {latest:%Y-%m-%d %H:%M} UTC, got a later one"
        return _reject(item, place, "updated_at", reason)
    return row


def _reject(item: dict[str, Any], place: str, field: str, reason: str) -> Reject:
    name = item.get("id")
    named = isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= _SHOWN
    value = item.get(field)
    return Reject(str(name).strip() if named else place, field, storable(reason)[:500], _quoted(value))


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
    return storable(shown)
