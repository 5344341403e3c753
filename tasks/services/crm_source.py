"""The CRM's JSON API at CRM_SYNC_URL: one page at a time.

    GET {CRM_SYNC_URL}/customers?limit=500&updated_since=2026-03-01T09:30:00Z&cursor=...
    GET {CRM_SYNC_URL}/opportunities?...                       Authorization: Bearer {CRM_SYNC_TOKEN}

    200  {"items": [...], "next": "..." or null}, perhaps with an ETag; `models.sync_items` says what items are
    304  nothing has changed (only asked for a first page, by If-None-Match)
    410  the cursor is not known any more: the pass begins again

`updated_since` is left out when everything is wanted; `cursor` is the `next` of the page before, and all pages of a
pass are asked for with the same `updated_since`. An ETag is sent back with the same question only, and only that of an
answer of one page: it speaks of a page, not of those after it.

What an answer means is decided here: 429, and 503 with Retry-After, put the sync off for as long as the source says (an
hour at most); other 5xx and silence mean that it is down; 401, 403 and other 4xx are for good.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from models.settings import settings
from models.sync_pages import Pass
from tasks.errors import PermanentError, ServiceDownError, Snooze
from tasks.services.addresses import USUAL_PORTS, ChosenBy, checked_url, port_of, shown
from tasks.services.http import guarded_client
from tasks.services.service import Service

#: Half a second of a source's work, and 0.1 s of ours; a page of 500 is about 200 kB.
PAGE_ITEMS = 500
#: For a page, its last byte included.
ANSWER_SECONDS = 30.0
LARGEST_PAGE = 8_000_000
#: How long a source that says "later" is left alone: what it says, within these; and where it does not say.
LEAST_WAIT, MOST_WAIT, USUAL_WAIT = 1.0, 3600.0, 60.0
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{0,200}"')

crm_source = Service("crm_source")


class CrmSourceDownError(ServiceDownError):
    """The source answers that it cannot answer."""


class CursorGoneError(Exception):
    """The source does not know the cursor any more."""


@dataclass(frozen=True, slots=True)
class SourcePage:
    """A page as it came."""

    body: bytes
    etag: str | None


class CrmSource:
    """The source, asked through one client."""

    def __init__(self, client: httpx.AsyncClient, url: httpx.URL) -> None:
        self._client = client
        self._url = url

    async def page(self, pass_: Pass) -> SourcePage | None:
        """The page that the pass wants next; None when nothing has changed since the last one.

        Raises:
            Snooze: the source asks for patience, or is known to be down.
            ServiceDownError: it is down.
            CursorGoneError: it does not know the cursor.
            PermanentError: it refuses.
        """
        query = {"limit": str(PAGE_ITEMS)}
        if pass_.since is not None:
            query["updated_since"] = pass_.since.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if pass_.cursor is not None:
            query["cursor"] = pass_.cursor
        headers = {"If-None-Match": pass_.etag} if pass_.etag is not None and pass_.cursor is None else {}
        url = self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{pass_.resource}")
        async with crm_source.call():
            response = await self._client.get(url, params=query, headers=headers)
            self._check(response, pass_)
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        etag = response.headers.get("ETag", "")
        return SourcePage(response.content, etag if _ETAG.fullmatch(etag) else None)

    def _check(self, response: httpx.Response, pass_: Pass) -> None:
        status = response.status_code
        told = f"the CRM's source {shown(self._url)} answered {status} when asked for {pass_.resource}"
        wait = _retry_after(response.headers)
        if status == 429 or (status == 503 and wait is not None):
            wait = USUAL_WAIT if wait is None else wait
            raise Snooze(f"{told}: asks to wait {wait:.0f} s", seconds=wait)
        if status >= 500 or status == 408:
            raise CrmSourceDownError(told)
        if status in (401, 403):
            raise PermanentError(f"{told}: set CRM_SYNC_TOKEN to a token that may read it, then retry this job")
        if status == 410 and pass_.cursor is not None:
            raise CursorGoneError(told)
        if status == 304 and pass_.etag is not None:
            return
        if status != 200:
            raise PermanentError(f"{told}: expected 200; check CRM_SYNC_URL")


@asynccontextmanager
async def open_source() -> AsyncIterator[CrmSource]:
    """The source of CRM_SYNC_URL.

    Raises:
        PermanentError: when there is none.
    """
    configured, token = settings().crm_sync_url, settings().crm_sync_token
    if configured is None:
        raise PermanentError("the source 'api' needs CRM_SYNC_URL: set it to the base URL of the CRM's JSON API")
    url = httpx.URL(configured)
    ports = {*USUAL_PORTS, port_of(url)}
    company = ChosenBy.COMPANY
    checked_url(url, chosen_by=company, ports=ports)
    async with guarded_client(chosen_by=company, seconds=ANSWER_SECONDS, largest=LARGEST_PAGE, ports=ports) as client:
        client.headers["Accept"] = "application/json"
        if token is not None:
            client.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        yield CrmSource(client, url)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that Retry-After asks to wait (a number of them, or a date); None where it says nothing of use."""
    told = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", told):
        return min(max(float(told), LEAST_WAIT), MOST_WAIT)
    try:
        until = parsedate_to_datetime(told)
        # By the source's own clock, where it says what that is.
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, LEAST_WAIT), MOST_WAIT)
