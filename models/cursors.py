"""Where a list goes on: the order it has, and the time and id of the last row, as text that a URL may hold."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from models.door import EARLIEST, LATEST
from models.ids import can_be_stored


class CursorError(ValueError):
    """The cursor is none that `page` gave out for such a filter."""


def written_cursor(order: str, job_id: str, moment: Any) -> str:
    """The cursor of what comes after this row; with an empty id, which is less than any, after all rows of its time."""
    when = None if moment is None or pd.isna(moment) else moment.isoformat()
    return base64.urlsafe_b64encode(json.dumps([order, when, job_id]).encode()).decode()


def read_cursor(cursor: str | None, order: str) -> dict[str, Any]:
    """Its `moment` and `id`, both None for the beginning.

    Raises:
        CursorError: when it is none of a list in this order.
    """
    if cursor is None:
        return {"moment": None, "id": None}
    try:
        kind, moment, job_id = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        when = None if moment is None else datetime.fromisoformat(moment).astimezone(UTC)
        if not isinstance(job_id, str) or not can_be_stored(job_id):
            raise ValueError("an id that none has")
        if when is not None and not EARLIEST <= when <= LATEST:
            raise ValueError("a time that no job has")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CursorError(f"expected a cursor that a page gave out, got {cursor!r:.80}: {error}") from None
    if kind != order:
        raise CursorError("this cursor belongs to a list with another order: begin again with the first page")
    return {"moment": when, "id": job_id}
