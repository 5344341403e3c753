"""A CRM's JSON API for tests, over a real loopback server: pages, changes since, what a test puts into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from http_server import Answer, Asked, HttpServer

#: Fewer than are asked for, so that a few items are many pages.
PAGE = 3


class CrmApi:
    """Answers from its two lists in their order; `before` may answer first (an error, or after a deed)."""

    def __init__(self) -> None:
        self.customers: list[Any] = []
        self.opportunities: list[Any] = []
        self.page = PAGE
        self.etags = False
        self.more: dict[str, Any] = {}
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        self.server = HttpServer(self.answer)

    @property
    def asked(self) -> list[tuple[str, str | None, str | None]]:
        """What was asked for: the resource, since when, the cursor."""
        return [
            (asked.path.strip("/"), asked.query.get("updated_since"), asked.query.get("cursor"))
            for asked in self.server.asked
        ]

    def answer(self, asked: Asked) -> Answer:
        first = self.before(asked)
        if first is not None:
            return first
        since = asked.query.get("updated_since", "")
        items = [
            item for item in getattr(self, asked.path.strip("/"))
            if not isinstance(item, dict) or str(item.get("updated_at")) >= since
        ]  # fmt: skip
        begin = int(asked.query.get("cursor", 0))
        end = begin + self.page
        page = {"items": items[begin:end], "next": str(end) if end < len(items) else None} | self.more
        body = json.dumps(page).encode()
        etag = f'"{hash((asked.path, body))}"'
        if self.etags and asked.headers.get("if-none-match") == etag:
            return Answer(304, headers={"ETag": etag})
        return Answer(body=body, headers={"ETag": etag} if self.etags else {})


def customer(number: int | str, **fields: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "name": f"Customer {number}", "updated_at": "2026-03-01T09:00:00Z"} | fields


def opportunity(number: int | str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"o{number}", "customer_id": "c1", "title": f"Carpets {number}", "status": "new",
        "estimated_value": 1234.5, "expected_close": "2026-04-01", "updated_at": "2026-03-01T09:00:00Z",
    } | fields  # fmt: skip
