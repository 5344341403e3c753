"""What a processor returned, as the JSON text that is kept with the job."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from models.outcomes import storable

#: A result is a note, not a file; what is longer is cut to a note that says so.
RESULT_LIMIT_BYTES = 64 * 1024


def result_text(result: Any) -> str | None:
    """A processor's return value as the JSON text that is stored; what JSON cannot hold is kept as its `repr`.

    The work is done by then: a result that cannot be stored is no reason to do it again.
    """
    if result is None:
        return None
    try:
        if isinstance(result, BaseModel):
            text = result.model_dump_json()
        else:
            text = json.dumps(result, ensure_ascii=False, allow_nan=False)
        text.encode()
    except Exception:  # whatever the value's own methods raise
        text = json.dumps(_described(result))
    if "\\u0000" in text or len(text) > RESULT_LIMIT_BYTES:
        text = json.dumps({"cut": text[:1000].replace("\\u0000", "")})
    return text


def _described(value: Any) -> str:
    try:
        return storable(repr(value))[:1000]
    except Exception:
        return f"<{type(value).__name__}, whose repr raises>"
