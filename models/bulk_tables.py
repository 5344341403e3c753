"""The tables of bulk actions: what was asked for, how far it is, and what it put back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, Double, Index, Integer, Text, desc, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


def _now(name: str) -> Any:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _count(name: str) -> Any:
    return Column(name, Integer, nullable=False, server_default=text("0"))


class BulkActionRow(SQLModel, table=True):
    """One retry of many jobs. It is `running` while its process goes on with it, chunk by chunk."""

    __tablename__ = "bulk_actions"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    who: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    filter: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    rate_per_second: float | None = Field(default=None, sa_column=Column(Double))
    total: int | None = Field(
        default=None, sa_column=Column(Integer, comment="Jobs that matched when it began; NULL: too many to count.")
    )
    done: int = Field(default=0, sa_column=_count("done"))
    skipped: int = Field(default=0, sa_column=_count("skipped"))
    undone: int = Field(default=0, sa_column=_count("undone"))
    state: str = Field(
        default="running", sa_column=Column(Text, nullable=False, server_default=text("'running'::text"))
    )
    runner: str | None = Field(
        default=None, sa_column=Column(Text, comment="The process that goes on with it; no other one may.")
    )
    progress: dict[str, Any] = Field(
        sa_column=Column(
            JSONB,
            nullable=False,
            server_default=text("'{}'::jsonb"),
            comment="How far it has got through the failed jobs.",
        )
    )
    started_at: datetime = Field(default=None, sa_column=_now("started_at"))
    updated_at: datetime = Field(default=None, sa_column=_now("updated_at"))

    __table_args__ = (
        CheckConstraint(
            "state IN ('running', 'done', 'stopped', 'undoing', 'undone')", name="bulk_actions_state"
        ),
        Index("ix_bulk_actions_started_at", desc("started_at")),
    )


class RetriedJob(SQLModel, table=True):
    """A job's last retry by people. No foreign key: it would cost every deleted job a probe, and a row too many here
    does no harm until it is cleaned up."""

    __tablename__ = "retried_jobs"

    job_id: str = Field(sa_column=Column(Text, primary_key=True))
    fingerprint: str = Field(sa_column=Column(Text, nullable=False))
    retried_at: datetime = Field(default=None, sa_column=_now("retried_at"))
    bulk_action_id: str | None = Field(default=None, sa_column=Column(Text))
    before: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, comment="What the job was, for the undo."))

    __table_args__ = (
        Index("ix_retried_jobs_bulk_action", "bulk_action_id", "job_id"),
        Index("ix_retried_jobs_fingerprint", "fingerprint", desc("retried_at")),
    )
