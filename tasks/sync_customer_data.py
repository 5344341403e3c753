"""Job type `sync_customer_data`: brings customers and opportunities from the CRM's API or from CSV files."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from prefect.tasks import exponential_backoff
from pydantic import Field

from models.crm_import import CrmImportError, import_crm
from models.crm_import.problems import ImportRunningError
from models.exclusive import AlreadyRunningError, exclusive
from models.settings import settings
from models.sync import RESOURCES, Source
from models.sync_items import parse_page
from models.sync_pages import MOST_AHEAD, Pass, SyncMovedOnError, begin_again, begin_pass, end_unchanged, store_page
from tasks import Payload, PermanentError, Snooze, current_job, processor, report_progress, stage
from tasks.services.crm_source import CrmSource, CursorGoneError, SourcePage, open_source

TIMEOUT_SECONDS = 600.0
#: A long pass goes on in another run of the job, so that it holds a slot for minutes, not for hours. With the slowest
#: page after it, it stays well below the time-out.
STRETCH_SECONDS = 240.0
#: Passes that one attempt begins again because the source has forgotten the cursor.
MOST_FORGOTTEN = 2
#: For whoever syncs the same source at this moment, a look, and then another one later.
PATIENCE_SECONDS = 1.0
BUSY_SECONDS = 30.0


class SyncPayload(Payload):
    source: Source = Field(description="api: the JSON API of CRM_SYNC_URL; files: the CSV files of CRM_SYNC_MAPPING.")
    everything: bool = Field(False, description="Read everything again, not only what has changed.")


@processor(
    retries=6,
    # 10 s to 5 min, and up to half as much again: a source that is deployed anew is back by then.
    retry_delay_seconds=exponential_backoff(10),
    timeout_seconds=TIMEOUT_SECONDS,
    services=("crm_source",),
)
async def sync_customer_data(payload: SyncPayload) -> dict[str, Any]:
    """Brings customers and opportunities up to date with the CRM's API or CSV files; run twice, it changes nothing.

    From the API only what has changed, page by page. A page is stored with the place of the next one: an attempt that
    died is taken up there. Items that cannot be stored are left out and listed in `crm_sync_rejects`; CSV rows, in a
    file that the result names. An opportunity that has an offer stays in `proposal` whatever an older word on it says.
    """
    try:
        async with exclusive(f"sync {payload.source}", patience=PATIENCE_SECONDS):
            if payload.source == "files":
                return await _import_files()
            async with open_source() as source:
                return await _sync(source, payload.everything)
    except (AlreadyRunningError, SyncMovedOnError, ImportRunningError) as error:
        raise Snooze(f"another sync is running: {error}", seconds=BUSY_SECONDS) from None


async def _sync(source: CrmSource, everything: bool) -> dict[str, Any]:
    """A pass over each resource."""
    job = current_job()
    began = asyncio.get_running_loop().time()
    result: dict[str, Any] = {}
    forgotten = 0
    for place, resource in enumerate(RESOURCES):
        pass_ = await asyncio.to_thread(
            begin_pass, "api", resource, job.id if job is not None else None, everything=everything
        )
        while not pass_.over:
            try:
                pass_, total = await _advance(source, pass_)
            except CursorGoneError:
                # Cursors may be short-lived; one that is forgotten at once, time and again, is a fault of the source.
                forgotten += 1
                if forgotten > MOST_FORGOTTEN:
                    raise
                pass_, total = await asyncio.to_thread(begin_again, pass_), None
            _report(pass_, place, total)
            if not pass_.over and asyncio.get_running_loop().time() - began > STRETCH_SECONDS:
                raise Snooze(f"{resource}: {pass_.counts['read']:,} read so far, goes on", seconds=0)
        result[resource] = pass_.counts
    return result


async def _advance(source: CrmSource, pass_: Pass) -> tuple[Pass, int | None]:
    """The pass after its next page, and the number of its items where the source says so."""
    with stage("fetch"):
        page = await source.page(pass_)
    with stage("record"):
        if page is None:
            return await asyncio.to_thread(end_unchanged, pass_), None
        # In a thread: the event loop is everybody's, and a page of 500 takes some 20 ms to read.
        return await asyncio.to_thread(_store, pass_, page)


def _store(pass_: Pass, page: SourcePage) -> tuple[Pass, int | None]:
    parsed = parse_page(pass_.resource, page.body, latest=pass_.began + MOST_AHEAD, number=pass_.pages + 1)
    return store_page(pass_, parsed, page.etag), parsed.total


def _report(pass_: Pass, place: int, total: int | None) -> None:
    read = pass_.counts["read"]
    # Nobody knows how many pages are to come where the source does not say: half way, three quarters, ...
    share = 1.0 if pass_.over else min(read / total, 1.0) if total else pass_.pages / (pass_.pages + 1)
    report_progress((place + share) / len(RESOURCES), f"{pass_.resource}: {read:,} read")


async def _import_files() -> dict[str, Any]:
    """Imports the CSV files, in one transaction."""
    mapping, folder = settings().crm_sync_mapping, settings().crm_sync_folder
    if mapping is None:
        raise PermanentError("the source 'files' needs CRM_SYNC_MAPPING: set it to the mapping (TOML) of an import")

    def progress(done: int, total: int) -> None:
        report_progress(done / total if total else 1.0, f"{done:,} of {total:,} bytes")

    def run() -> dict[str, Any]:
        with stage("record"):
            try:
                done = import_crm(mapping, folder=folder, progress=progress)
            except ImportRunningError:
                raise
            except CrmImportError as error:
                raise PermanentError(str(error)) from None
        return asdict(done) | {"report": str(done.report) if done.report is not None else None}

    return await asyncio.to_thread(run)
