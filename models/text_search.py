"""Finding jobs by a text without telling what is masked: who may not read a secret may not guess it letter by letter.

A payload is searched field by field of its top level. A field that is secret, or has a secret anywhere inside, is left
out whole, by the same rules that `masking` shows it by; at the edges rather one field too many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import psycopg

from models.card_numbers import CARD_DIGITS_PATTERN, UUID_PATTERN
from models.filters import JobFilter
from models.masking import SECRET_NAMES, secret_fields
from models.registry import HIDES_INPUT

#: As the name of a field in JSON text, anywhere in it: up to its closing quote and the colon. What else Python takes
#: for a letter without regard to case (the Kelvin sign, the long s, the Turkish i) is named, as PostgreSQL does not.
_SECRET_NAME = (
    "(" + SECRET_NAMES.replace("k", "[k\u212a]").replace("s", "[s\u017f]").replace("i", "[i\u0130\u0131]") + ")"
    r'([^"\\]|\\.)*":'
)  # fmt: skip


def text_parameters(connection: psycopg.Connection[Any], filter: JobFilter) -> dict[str, Any]:
    """What `found_by_text.sql` needs besides the filter's own parameters; it asks the database when there is a text."""
    fields: dict[str, Any] = {}
    if filter.text:
        # As text: a schema of plain SQL may be deeper than psycopg's own reading goes.
        rows = connection.execute("SELECT job_type, payload_schema::text FROM job_types").fetchall()
        fields = {job_type: found for job_type, schema in rows if (found := _hidden(schema))}
    return {
        "secret_fields": json.dumps(fields),
        "secret_name": _SECRET_NAME,
        "uuid": UUID_PATTERN,
        "card_digits": CARD_DIGITS_PATTERN,
    }


@lru_cache(maxsize=256)
def _hidden(written: str) -> dict[str, Any]:
    """What of a type's payloads is not searched, whatever it is called; empty for a type without secrets."""
    try:
        schema = json.loads(written)
    except (ValueError, RecursionError):
        return {"all": True}
    if not isinstance(schema, Mapping):
        return {}
    found: dict[str, Any] = {}
    names = secret_fields(schema)
    if names is None:
        return {"all": True}
    if names:
        found["names"] = sorted(names)
    if schema.get(HIDES_INPUT) is True:
        found["digits"] = True
    return found
