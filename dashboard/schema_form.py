"""A payload's JSON Schema as the fields of a form, and what was typed into them as a payload: pure, no widgets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

Kind = Literal["text", "secret", "integer", "number", "boolean", "choice", "date", "time", "json"]
#: What the form itself cannot show as a widget is typed as JSON.
_JSON_HELP = "JSON"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `default` None: none; an optional field that is left empty is left out of the payload."""

    name: str
    label: str
    kind: Kind
    required: bool
    default: Any = None
    choices: Sequence[Any] = ()
    help: str | None = None
    longest: int | None = None
    least: float | None = None
    most: float | None = None


def fields(schema: Mapping[str, Any] | None) -> list[Field]:
    """The fields of an object's schema, the required ones first; none for a schema that is no object's."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, Mapping):
        return []
    required = set((schema or {}).get("required") or [])
    found = [_field(name, part, name in required, schema or {}) for name, part in properties.items()]
    return sorted(found, key=lambda field: not field.required)


def payload(form: Sequence[Field], typed: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, as a payload; the door checks it against the type's own rules.

    Raises:
        ValueError: where JSON was expected and something else was typed, or what is required is empty, naming the
            fields: the door may say no more than that something is missing.
    """
    made = {field.name: value for field in form if (value := _value(field, typed.get(field.name))) is not None}
    if empty := [field.label for field in form if field.required and field.name not in made]:
        raise ValueError(f"expected a value for {', '.join(empty)}; got none")
    return made


def _value(field: Field, typed: Any) -> Any:
    match field.kind, typed:
        case _, None | "":
            return None
        case "json", str():
            try:
                return json.loads(typed)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{field.label}: expected JSON, got {typed[:40]!r}: {error}") from None
        case "time", datetime():
            return (typed if typed.tzinfo else typed.replace(tzinfo=UTC)).isoformat()
        case "date", date():
            return typed.isoformat()
        case "integer", int() | float():
            return int(typed)
        case _:
            return typed


def _field(name: str, part: Any, required: bool, root: Mapping[str, Any]) -> Field:
    whole = _resolved(part, root)
    inner, nullable = _without_null(whole, root)
    kind, choices = _kind(inner)
    default = whole.get("default", inner.get("default"))
    if kind == "json" and default is not None:
        default = json.dumps(default)
    return Field(
        name=name,
        label=name.replace("_", " ").capitalize(),
        kind=kind,
        required=required and not nullable,
        default=default,
        choices=choices,
        help=whole.get("description") or inner.get("description") or (_JSON_HELP if kind == "json" else None),
        longest=inner.get("maxLength"),
        least=_bound(inner, "minimum", "exclusiveMinimum"),
        most=_bound(inner, "maximum", "exclusiveMaximum"),
    )


def _kind(schema: Mapping[str, Any]) -> tuple[Kind, Sequence[Any]]:
    if isinstance(schema.get("enum"), list):
        return "choice", schema["enum"]
    if "const" in schema:
        return "choice", [schema["const"]]
    match schema.get("type"), schema.get("format"):
        case "string", "date":
            return "date", ()
        case "string", "date-time":
            return "time", ()
        case "string", "password":
            return "secret", ()
        case "string", _:
            return "text", ()
        case "integer", _:
            return "integer", ()
        case "number", _:
            return "number", ()
        case "boolean", _:
            return "boolean", ()
        case _:
            return "json", ()


def _without_null(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """What a value may be beside null; several alternatives are typed as JSON, a number that may be text as text."""
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(alternatives, list):
        return schema, False
    resolved = [_resolved(each, root) for each in alternatives]
    rest = [each for each in resolved if each.get("type") != "null"]
    nullable = len(rest) < len(resolved)
    if len(rest) == 1:
        return {**rest[0], **{key: schema[key] for key in ("description",) if key in schema}}, nullable
    # pydantic's Decimal: a number, or a text that holds one.
    numbers = [each for each in rest if each.get("type") in ("number", "integer")]
    if numbers and {each.get("type") for each in rest} <= {"number", "integer", "string"}:
        return numbers[0], nullable
    return {}, nullable


def _resolved(part: Any, root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    if not isinstance(part, Mapping):
        return {}
    if isinstance(part.get("allOf"), list) and len(part["allOf"]) == 1:
        part = {**dict(part["allOf"][0]), **{key: value for key, value in part.items() if key != "allOf"}}
    reference = part.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/") or depth > 20:
        return dict(part)
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    beside: dict[str, Any] = {key: value for key, value in part.items() if key != "$ref"}
    return {**_resolved(found, root, depth + 1), **beside}


def _bound(schema: Mapping[str, Any], *names: str) -> float | None:
    found = next((schema[name] for name in names if name in schema), None)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
