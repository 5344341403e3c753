"""One guarded request, for the tests of what jobs fetch over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tasks.services.http import ChosenBy, checked_url, guarded_client


def ask(url: str, method: str = "GET", *, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        content = options.pop("content", None)
        async with guarded_client(**options) as client:
            chosen_by = options.get("chosen_by", ChosenBy.CUSTOMER)
            return await client.request(method, checked_url(url, chosen_by=chosen_by), headers=headers, content=content)

    return asyncio.run(asked())
