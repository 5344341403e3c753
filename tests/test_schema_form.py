"""Forms from payload models: every kind of field, and what was typed as a payload that the model takes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from dashboard import schema_form


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    city: str


class Everything(BaseModel):
    name: str
    copies: Annotated[int, Field(ge=1, le=9)] = 1
    price: float
    amount: Decimal | None = None
    urgent: bool = False
    colour: Colour
    way: Literal["up", "down"] = "up"
    day: date
    at: datetime | None = None
    place: Place | None = None
    tags: list[str] = []
    pin: SecretStr | None = None
    either: int | str | None = None


def fields() -> dict[str, schema_form.Field]:
    return {field.name: field for field in schema_form.fields(Everything.model_json_schema())}


def test_each_kind_of_field_has_its_widget() -> None:
    kinds = {name: field.kind for name, field in fields().items()}
    assert kinds == {
        "name": "text", "copies": "integer", "price": "number", "amount": "number", "urgent": "boolean",
        "colour": "choice", "way": "choice", "day": "date", "at": "time", "place": "json", "tags": "json",
        "pin": "secret", "either": "integer",
    }  # fmt: skip


def test_the_required_ones_come_first_with_bounds_and_choices() -> None:
    found = fields()
    assert list(found)[:4] == ["name", "price", "colour", "day"]
    assert [field.required for field in found.values()] == [True] * 4 + [False] * 9
    assert (found["copies"].least, found["copies"].most, found["copies"].default) == (1, 9, 1)
    assert list(found["colour"].choices) == ["red", "blue"]


def test_what_was_typed_is_a_payload_that_the_model_takes() -> None:
    typed: dict[str, Any] = {
        "name": "a", "copies": 2, "price": 1.5, "amount": None, "urgent": True, "colour": "blue", "way": "down",
        "day": date(2026, 11, 24), "at": datetime(2026, 11, 24, 9, 30, tzinfo=UTC), "place": '{"city": "Bern"}',
        "tags": '["x"]', "pin": "", "either": None,
    }  # fmt: skip
    payload = schema_form.payload(list(fields().values()), typed)
    assert "amount" not in payload and "pin" not in payload
    made = Everything.model_validate(payload)
    assert made.place == Place(city="Bern") and made.at == typed["at"] and made.tags == ["x"]


def test_required_fields_that_are_empty_are_named() -> None:
    form = schema_form.fields(
        {"properties": {"invoice_id": {"type": "string"}, "note": {"type": "string"}, "amount": {"type": "number"}},
         "required": ["invoice_id", "amount"]}
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected a value for Invoice id, Amount; got none"):
        schema_form.payload(form, {"invoice_id": "", "note": "x"})


def test_json_that_is_none_names_its_field() -> None:
    with pytest.raises(ValueError, match="Place: expected JSON, got '{city'"):
        schema_form.payload(list(fields().values()), {"place": "{city"})


@pytest.mark.parametrize(
    "schema",
    [
        None, {}, {"properties": []}, {"properties": {"x": None}}, {"properties": {"x": {"$ref": "#/nowhere"}}},
        {"properties": {"x": {"$ref": "#/properties/x"}}}, {"type": "array"}, {"properties": {"x": {"anyOf": [{}]}}},
    ],
)  # fmt: skip
def test_a_schema_that_makes_no_sense_makes_no_trouble(schema: Any) -> None:
    assert all(field.kind == "json" for field in schema_form.fields(schema))
