"""Customer sync: its sources, where it stands with each, what it left out, and adding the job that does it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Boolean, Column, DateTime, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.adding import AddedJob, add_jobs
from models.settings import settings

#: `api`: the JSON source of CRM_SYNC_URL; `files`: the CSV files of CRM_SYNC_MAPPING.
Source = Literal["api", "files"]
#: What is synced, in this order: an opportunity refers to its customer.
Resource = Literal["customers", "opportunities"]
SOURCES: tuple[Source, ...] = get_args(Source)
RESOURCES: tuple[Resource, ...] = get_args(Resource)
#: Below what people wait for, above the clean-up: offers are made from what it brings.
PRIORITY = 4


class SyncState(SQLModel, table=True):
    """Where the sync of a resource stands. A pass reads all that changed since the last one, page by page."""

    __tablename__ = "crm_sync_state"

    source: str = Field(sa_column=Column(Text, primary_key=True))
    resource: str = Field(sa_column=Column(Text, primary_key=True))
    job_id: str | None = Field(default=None, sa_column=Column(Text, comment="Who began the pass, or took it up last."))
    running: bool = Field(
        default=False,
        sa_column=Column(
            Boolean,
            nullable=False,
            server_default=text("false"),
            comment="Whether a pass is under way: the next page is that of the cursor.",
        ),
    )
    since: datetime | None = Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=True), comment="What the pass asks for: changes since then; NULL: everything."
        ),
    )
    cursor: str | None = Field(default=None, sa_column=Column(Text))
    pages: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default=text("0")))
    newest: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), comment="Of the pass: the newest updated_at.")
    )
    synced_until: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), comment="The newest updated_at of the passes that have ended."),
    )
    etag: str | None = Field(
        default=None,
        sa_column=Column(Text, comment="Of an answer of one page to the question that the next pass will ask again."),
    )
    counts: dict[str, Any] = Field(
        default_factory=dict,
        sa_column=Column(
            JSONB,
            nullable=False,
            server_default=text("'{}'::jsonb"),
            comment="Of the pass: read, inserted, updated, unchanged, rejected.",
        ),
    )
    began_at: datetime = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class SyncReject(SQLModel, table=True):
    """An item that was left out, and why."""

    __tablename__ = "crm_sync_rejects"

    source: str = Field(sa_column=Column(Text, primary_key=True))
    resource: str = Field(sa_column=Column(Text, primary_key=True))
    item: str = Field(sa_column=Column(Text, primary_key=True, comment="Its id, or its place where it has none."))
    field: str = Field(sa_column=Column(Text, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    value: str = Field(sa_column=Column(Text, nullable=False))
    first_seen: datetime = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )
    last_seen: datetime = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )

    __table_args__ = (
        Index("ix_crm_sync_rejects_last_seen", "last_seen"),
        {"comment": "Items that cannot be stored as they are; a row goes when its item is stored."},
    )


def configured_sources() -> tuple[Source, ...]:
    """The sources that the settings name."""
    named: dict[Source, object] = {"api": settings().crm_sync_url, "files": settings().crm_sync_mapping}
    return tuple(source for source in SOURCES if named[source] is not None)


def queue_sync(sources: Sequence[Source], *, everything: bool = False) -> list[AddedJob]:
    """Adds a `sync_customer_data` job for each source, unless one for it is waiting or running already."""
    return add_jobs(
        [
            {
                "type": "sync_customer_data",
                "payload": {"source": source, "everything": everything},
                "priority": PRIORITY,
                # One that reads everything is not the same as one that waits already to read what has changed.
                "unique_key": f"sync-customer-data:{source}{':everything' if everything else ''}",
            }
            for source in sources
        ]
    )
