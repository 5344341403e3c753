"""Passes of the customer sync: a page and the cursor after it are stored in one transaction, or neither is.

So a worker that is killed between two pages loses none and reads none twice: the next attempt asks for the page of the
cursor. The next pass asks for what changed since the newest `updated_at` (the source's clock, never ours) and a little
before, as a source may make known an older change after a newer one.

Whose word counts: the source's, where it is newer than what it said before. But what jobs here have done stands:
an opportunity with an offer is at least in `proposal`, and a customer who has unsubscribed stays so. That a source
closes an opportunity (won, lost) counts always. What is deleted in the source stays here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from models import database
from models.sql import statement
from models.sync import Resource, Source
from models.sync_items import Page, PageError, Reject, check_share

#: A change is known to a source's readers when its transaction ends, which is minutes later at most.
OVERLAP_SECONDS = 300
#: An item may be so much ahead of our clock; one that is later would let no later word on it in.
MOST_AHEAD = timedelta(days=1)
#: Rejects kept for a source.
MOST_REJECTS = 10_000
#: A pass of more pages goes round in circles: at 500 items a page it would be 25 million.
MOST_PAGES = 50_000
_COUNTED = ("read", "inserted", "updated", "unchanged", "rejected")


class SyncMovedOnError(RuntimeError):
    """Another worker has stored this page meanwhile."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass under way: the page to ask for next.

    Attributes:
        since: changes since then are asked for; None: everything.
        cursor: of the page; None: the first.
        pages: stored so far.
        etag: of the answer to the same question, if it is known.
        counts: of the pass so far.
        began: by the database's clock, when this was taken up.
    """

    source: Source
    resource: Resource
    since: datetime | None
    cursor: str | None
    pages: int
    etag: str | None
    counts: dict[str, int]
    began: datetime
    over: bool = False


def begin_pass(source: Source, resource: Resource, job_id: str | None, *, everything: bool = False) -> Pass:
    """Begins a pass, or takes up the one that is under way; `over` when this job has ended it before.

    Args:
        job_id: the job that asks, whichever attempt it is.
        everything: whether to begin anew and read everything, unless this job did so before.
    """
    key = {"source": source, "resource": resource}
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO crm_sync_state (source, resource) VALUES (%(source)s, %(resource)s) ON CONFLICT DO NOTHING",
            key,
        )
        running, by, since, counts, now = _only(
            connection.execute(
                "SELECT running, job_id, since, counts, now() FROM crm_sync_state"
                " WHERE source = %(source)s AND resource = %(resource)s FOR UPDATE",
                key,
            )
        )
        own = job_id is not None and by == job_id
        if own and not running:
            return Pass(source, resource, since, None, 0, None, counts, now, over=True)
        anew = everything and not own
        row = _only(
            connection.execute(
                statement("begin_sync"), {**key, "job_id": job_id, "anew": anew, "overlap": OVERLAP_SECONDS}
            )
        )
    since, cursor, pages, etag, counts, now = row
    return Pass(source, resource, since, cursor, pages, etag, dict.fromkeys(_COUNTED, 0) | counts, now)


def store_page(pass_: Pass, page: Page, etag: str | None) -> Pass:
    """Stores a page and the cursor after it; returns the pass as it is then.

    Raises:
        PageError: when too many of its items cannot be stored, or the source goes round in circles.
        SyncMovedOnError: when somebody else stored the page.
    """
    if page.next is not None and (page.next == pass_.cursor or pass_.pages + 1 >= MOST_PAGES):
        raise PageError(
            f"{pass_.resource}: expected the pages to come to an end, got {pass_.pages + 1:,} and another one; once "
            "the source is in order, add a job with everything=true to begin anew"
        )
    with database.transaction() as connection:
        _check_turn(connection, pass_)
        # In the order of their ids, as other transactions lock them.
        rows, rejects = sorted(page.rows, key=lambda row: str(row["id"])), list(page.rejects)
        if pass_.resource == "opportunities":
            rows, orphans = _with_customers(connection, rows)
            rejects += orphans
            # What others change meanwhile is waited for before the statement that looks at the offers begins.
            connection.execute(statement("lock_opportunities"), {"ids": [row["id"] for row in rows]})
        check_share(pass_.resource, page.read, rejects)
        inserted = [row[0] for row in connection.execute(_UPSERTS[pass_.resource], _columns(pass_.resource, rows))]
        _note_rejects(connection, pass_, rows, rejects)
        counted = (page.read, sum(inserted), len(inserted) - sum(inserted), 0, len(rejects))
        counts = {name: pass_.counts[name] + add for name, add in zip(_COUNTED, counted, strict=True)}
        counts["unchanged"] = counts["read"] - counts["inserted"] - counts["updated"] - counts["rejected"]
        newest = max((row["updated_at"] for row in rows), default=None)
        connection.execute(
            statement("advance_sync"),
            {
                **_key(pass_), "next": page.next, "counts": Jsonb(counts), "etag": etag, "overlap": OVERLAP_SECONDS,
                # A source whose clock is ahead does not make us ask for the future.
                "newest": None if newest is None else min(newest, pass_.began),
            },
        )  # fmt: skip
    over = page.next is None
    return replace(pass_, cursor=page.next, pages=pass_.pages + 1, etag=None, counts=counts, over=over)


def end_unchanged(pass_: Pass) -> Pass:
    """Ends a pass whose source says that nothing has changed."""
    with database.transaction() as connection:
        _check_turn(connection, pass_)
        connection.execute(
            "UPDATE crm_sync_state SET running = false, ended_at = now()"
            " WHERE source = %(source)s AND resource = %(resource)s",
            _key(pass_),
        )
    return replace(pass_, over=True)


def begin_again(pass_: Pass) -> Pass:
    """Goes back to the first page of the pass: its source has forgotten the cursor."""
    with database.transaction() as connection:
        _check_turn(connection, pass_)
        connection.execute(
            "UPDATE crm_sync_state SET cursor = NULL, pages = 0, etag = NULL, counts = '{}'::jsonb"
            " WHERE source = %(source)s AND resource = %(resource)s",
            _key(pass_),
        )
    return replace(pass_, cursor=None, pages=0, etag=None, counts=dict.fromkeys(_COUNTED, 0))


_UPSERTS = {"customers": statement("sync_customers"), "opportunities": statement("sync_opportunities")}
_COLUMNS = {
    "customers": ("id", "name", "email", "tier", "unsubscribed_at", "created_at", "updated_at"),
    "opportunities": (
        "id", "customer_id", "title", "status", "estimated_value", "expected_close", "created_at", "updated_at",
    ),
}  # fmt: skip


def _key(pass_: Pass) -> dict[str, Any]:
    return {"source": pass_.source, "resource": pass_.resource}


def _only(cursor: psycopg.Cursor[Any]) -> Any:
    row = cursor.fetchone()
    assert row is not None
    return row


def _check_turn(connection: psycopg.Connection[Any], pass_: Pass) -> None:
    """Locks the state's row, which must be as this pass left it."""
    row = _only(
        connection.execute(
            "SELECT running AND pages = %(pages)s AND cursor IS NOT DISTINCT FROM %(cursor)s FROM crm_sync_state"
            " WHERE source = %(source)s AND resource = %(resource)s FOR UPDATE",
            {**_key(pass_), "pages": pass_.pages, "cursor": pass_.cursor},
        )
    )
    if not row[0]:
        raise SyncMovedOnError(f"another worker goes on with the {pass_.resource} of {pass_.source!r}")


def _with_customers(
    connection: psycopg.Connection[Any], rows: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """The rows whose customer there is (or that have none), and the others as rejects."""
    wanted = sorted({row["customer_id"] for row in rows if row["customer_id"] is not None})
    # Locked, or a customer could go before its opportunity is there.
    found = connection.execute("SELECT id FROM customers WHERE id = ANY (%s) ORDER BY id FOR KEY SHARE", [wanted])
    known = {row[0] for row in found}
    orphans = [row for row in rows if row["customer_id"] is not None and row["customer_id"] not in known]
    reason = "expected the id of a customer, got an unknown one"
    rejects = [Reject(row["id"], "customer_id", reason, row["customer_id"]) for row in orphans]
    left_out = {row["id"] for row in orphans}
    return [row for row in rows if row["id"] not in left_out], rejects


def _columns(resource: Resource, rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in _COLUMNS[resource]}


def _note_rejects(
    connection: psycopg.Connection[Any], pass_: Pass, rows: Sequence[dict[str, Any]], rejects: Sequence[Reject]
) -> None:
    """Writes down what is left out, and strikes off what is stored now."""
    connection.execute(
        "DELETE FROM crm_sync_rejects"
        " WHERE source = %(source)s AND resource = %(resource)s AND item = ANY (%(stored)s::text[])",
        {**_key(pass_), "stored": [row["id"] for row in rows]},
    )
    if rejects:
        # An item may be on a page twice, and a statement meets each row once.
        noted = {reject.item: reject for reject in rejects}.values()
        columns = {name: [getattr(one, name) for one in noted] for name in ("item", "field", "reason", "value")}
        connection.execute(statement("sync_rejects"), {**_key(pass_), "most": MOST_REJECTS, **columns})
