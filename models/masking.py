"""Hiding the secrets in payloads and results before anybody looks at them.

A field is secret when its JSON Schema says so (`"writeOnly": true` or `"format": "password"`: pydantic's SecretStr has
both), or when its name sounds like it. Where the schema says that no message may show what was given, card numbers are
hidden wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from models.card_numbers import MASK, holds_card_number
from models.registry import ALIASES, HIDES_INPUT

#: Better a "discard" too many than a card number: parts of names count, in any case.
SECRET_NAMES = "token|secret|password|passwd|card|cvc|cvv|api[ _-]?key|authorization|credential"
_SOUNDS_SECRET = re.compile(SECRET_NAMES, re.I)
#: Deeper than any payload is read; a row of plain SQL may be deeper than Python can walk or write.
DEPTH_LIMIT = 100
TOO_DEEP = "nested too deep to show"


def masked(value: Any, schema: Mapping[str, Any] | None = None) -> Any:
    """A copy of a JSON value with its secrets replaced by `***`; a secret that is null stays null.

    Args:
        value: a payload, or a result.
        schema: the payload's JSON Schema, as `job_types` has it; None: names alone decide.
    """
    root = schema or {}
    return _masked(value, [root] if root else [], root, DEPTH_LIMIT)


def secret_fields(schema: Mapping[str, Any]) -> set[str] | None:
    """The top fields, by all their names, that are secret or can have a secret inside because the schema says so.

    None: any field can, as those that the schema does not name are (or hold) secrets.
    """
    applying = _parts([schema], schema)
    if _holds_secret([part.get("additionalProperties") for part in applying], schema):
        return None
    names = {
        name
        for part in applying
        for keyword in ("properties", ALIASES)
        if isinstance(found := part.get(keyword), Mapping)
        for name in found
    }
    return {name for name in names if _holds_secret(_properties(applying, name), schema)}


def _holds_secret(schemas: list[Any], root: Mapping[str, Any]) -> bool:
    """Whether these say that something is secret, or what can stand inside by them does."""
    seen: list[Mapping[str, Any]] = []
    waiting = _parts(schemas, root)
    while waiting:
        part = waiting.pop()
        if any(part is other for other in seen):
            continue
        seen.append(part)
        if _says_secret([part], root):
            return True
        inner: list[Any] = [part.get("additionalProperties"), part.get("items")]
        properties, first = part.get("properties"), part.get("prefixItems")
        inner += properties.values() if isinstance(properties, Mapping) else ()
        inner += first if isinstance(first, list) else ()
        waiting += _parts(inner, root)
    return False


def _masked(value: Any, schemas: list[Mapping[str, Any]], root: Mapping[str, Any], depth: int) -> Any:
    hides = root.get(HIDES_INPUT) is True
    if not isinstance(value, dict | list):
        return MASK if hides and holds_card_number(value) else value
    if depth == 0:
        return TOO_DEEP
    applying = _parts(schemas, root)
    if isinstance(value, list):
        return [
            _hidden(item) if _says_secret(inner, root) else _masked(item, inner, root, depth - 1)
            for place, item in enumerate(value)
            for inner in [_items(applying, place)]
        ]
    result = {}
    for name, item in value.items():
        inner = _properties(applying, name)
        if hides and holds_card_number(name):
            result[MASK] = _hidden(item)
        elif _SOUNDS_SECRET.search(name) or _says_secret(inner, root):
            result[name] = _hidden(item)
        else:
            result[name] = _masked(item, inner, root, depth - 1)
    return result


def _hidden(value: Any) -> Any:
    return None if value is None else MASK


def _says_secret(schemas: list[Mapping[str, Any]], root: Mapping[str, Any]) -> bool:
    return any(part.get("writeOnly") is True or part.get("format") == "password" for part in _parts(schemas, root))


def _parts(schemas: list[Mapping[str, Any]], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas and all that apply beside them, each once: what they refer to, and every alternative."""
    found: list[Mapping[str, Any]] = []
    waiting: list[Any] = list(schemas)
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Mapping) or any(part is seen for seen in found):
            continue
        found.append(part)
        waiting.append(_referred(part.get("$ref"), root))
        for keyword in ("allOf", "anyOf", "oneOf"):
            alternatives = part.get(keyword)
            waiting.extend(alternatives if isinstance(alternatives, list) else ())
    return found


def _referred(reference: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step.replace("~1", "/").replace("~0", "~"))
    return found


def _properties(schemas: list[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return list(_mappings(found for schema in schemas for found in _property(schema, name)))


def _property(schema: Mapping[str, Any], name: str) -> Iterator[Any]:
    properties, aliases = schema.get("properties"), schema.get(ALIASES)
    if isinstance(properties, Mapping):
        yield properties.get(name)
        # The payload may have the field by its other name.
        yield properties.get(aliases.get(name)) if isinstance(aliases, Mapping) else None
        if name in properties:
            return
    yield schema.get("additionalProperties")


def _items(schemas: list[Mapping[str, Any]], place: int) -> list[Mapping[str, Any]]:
    def of(schema: Mapping[str, Any]) -> Any:
        first = schema.get("prefixItems")
        return first[place] if isinstance(first, list) and place < len(first) else schema.get("items")

    return list(_mappings(of(schema) for schema in schemas))


def _mappings(found: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
    return (schema for schema in found if isinstance(schema, Mapping))
