"""The tables of the queue: jobs, their failed attempts, job types, workers, the roll-up and the audit log.

The migrations create them; a test holds the two against each other. The hot path does not go through these classes
(see `models/sql/`): they serve everything else, the dashboard and notebooks first.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    cast,
    desc,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

#: The longest job type name the table takes.
JOB_TYPE_LENGTH = 50
#: Resolutions of the roll-up, in minutes.
MINUTE, HOUR = 1, 60


class JobStatus(StrEnum):
    """Where a job stands. `cancelled` is ours; the other four are the guide's."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _timestamp(*, nullable: bool = True, default_now: bool = False) -> Any:
    return Column(
        DateTime(timezone=True), nullable=nullable, server_default=text("now()") if default_now else None
    )


class _Json(TypeDecorator[Any]):
    """JSONB that can always be read: plain SQL may have put in depths and numbers that Python's parser refuses."""

    impl = JSONB
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return type_coerce(cast(column, Text), self)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return {"unreadable": value[:1000]}


class BackgroundJob(SQLModel, table=True):
    """One job. The first thirteen columns are the guide's to the letter."""

    __tablename__ = "background_jobs"

    id: str = Field(sa_column=Column(Text, primary_key=True, server_default=text("new_job_id()")))
    job_type: str = Field(sa_column=Column(String(JOB_TYPE_LENGTH), nullable=False))
    payload: dict[str, Any] = Field(sa_column=Column(_Json, nullable=False, server_default=text("'{}'::jsonb")))
    status: str = Field(
        default=JobStatus.PENDING, sa_column=Column(String(20), nullable=False, server_default=text("'pending'"))
    )
    priority: int = Field(default=5, sa_column=Column(Integer, nullable=False, server_default=text("5")))
    retry_count: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default=text("0")))
    max_retries: int = Field(default=3, sa_column=Column(Integer, nullable=False, server_default=text("3")))
    scheduled_for: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    started_at: datetime | None = Field(default=None, sa_column=_timestamp())
    completed_at: datetime | None = Field(default=None, sa_column=_timestamp())
    error_message: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    updated_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    # What the guide's features need besides.
    worker_id: str | None = Field(
        default=None, sa_column=Column(Text, comment="Who runs it; with started_at, the fence of its completion.")
    )
    lost_count: int = Field(
        default=0,
        sa_column=Column(SmallInteger, nullable=False, server_default=text("0"), comment="Times its worker died."),
    )
    unique_key: str | None = Field(
        default=None, sa_column=Column(Text, comment="At most one pending or processing job has it.")
    )
    progress: float | None = Field(default=None, sa_column=Column(Double, comment="Reported share done, 0 to 1."))
    progress_note: str | None = Field(default=None, sa_column=Column(Text))
    result: Any | None = Field(default=None, sa_column=Column(_Json(none_as_null=True)))
    flow_run_id: str | None = Field(
        default=None, sa_column=Column(Text, comment="Prefect flow run of the last attempt.")
    )
    task_run_id: str | None = Field(
        default=None, sa_column=Column(Text, comment="Prefect task run of the last attempt.")
    )
    fingerprint: str = Field(
        default="",
        sa_column=Column(
            Text,
            nullable=False,
            server_default=text("''::text"),
            comment="Error group of its last failure for good; empty: never recorded.",
        ),
    )

    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')", name="background_jobs_status"
        ),
        # Ids go into notifications, URLs and other services' idempotency keys.
        CheckConstraint("octet_length(id) BETWEEN 1 AND 255", name="background_jobs_id_1_to_255_bytes"),
        CheckConstraint("priority BETWEEN 1 AND 10", name="background_jobs_priority_1_to_10"),
        # The upper bound is what max_retries allows; at the type's own, adding one would fail a rescue of all jobs.
        CheckConstraint("retry_count BETWEEN 0 AND 1000", name="background_jobs_retry_count_0_to_1000"),
        CheckConstraint("max_retries BETWEEN 0 AND 1000", name="background_jobs_max_retries_0_to_1000"),
        CheckConstraint(
            "scheduled_for BETWEEN '1970-01-01 00:00:00+00' AND '9999-01-01 00:00:00+00'",
            name="background_jobs_scheduled_for_in_range",
        ),
        # Python has no such times: one row would break every list that it is in.
        CheckConstraint(
            "greatest(created_at, updated_at, started_at, completed_at) <= '9999-01-01 00:00:00+00' AND "
            "least(created_at, updated_at, started_at, completed_at) >= '1970-01-01 00:00:00+00'",
            name="background_jobs_times_in_range",
        ),
        # The guide's four.
        Index(
            "idx_jobs_status_scheduled",
            "status",
            "scheduled_for",
            postgresql_where=text("status IN ('pending', 'processing')"),
        ),
        Index("idx_jobs_type_status", "job_type", "status"),
        Index("idx_jobs_created_at", desc("created_at")),
        Index(
            "idx_jobs_priority",
            desc("priority"),
            text("scheduled_for ASC"),
            postgresql_where=text("status = 'pending'"),
        ),
        # The claim's: with a paused type of 173,000 rows on top, 4 ms by this one and 128 ms by idx_jobs_priority.
        Index(
            "idx_jobs_claim",
            "job_type",
            desc("priority"),
            "scheduled_for",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "idx_jobs_unique_key",
            "unique_key",
            unique=True,
            postgresql_where=text("unique_key IS NOT NULL AND status IN ('pending', 'processing')"),
        ),
        # Failed jobs are few and are what operators look for; finished ones are read newest first.
        Index("idx_jobs_failed", desc("completed_at"), postgresql_where=text("status = 'failed'")),
        # Error groups are counted along it (100,000 failed jobs: 10 ms). Only a job that fails for good touches it.
        Index(
            "idx_jobs_failed_group",
            "fingerprint",
            text("COALESCE(completed_at, created_at) DESC"),
            postgresql_where=text("status = 'failed'"),
        ),
    )


class JobFailure(SQLModel, table=True):
    """One failed attempt, so that a success costs no second row."""

    __tablename__ = "job_failures"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    job_id: str = Field(
        sa_column=Column(Text, ForeignKey("background_jobs.id", ondelete="CASCADE"), nullable=False, index=True)
    )
    job_type: str = Field(sa_column=Column(String(JOB_TYPE_LENGTH), nullable=False))
    attempt: int = Field(sa_column=Column(Integer, nullable=False))
    error_class: str = Field(sa_column=Column(Text, nullable=False))
    message: str = Field(sa_column=Column(Text, nullable=False))
    traceback: str | None = Field(default=None, sa_column=Column(Text))
    fingerprint: str = Field(
        sa_column=Column(
            Text, nullable=False, comment="Groups the same error: job type, class, message without values."
        )
    )
    worker_id: str | None = Field(default=None, sa_column=Column(Text))
    flow_run_id: str | None = Field(default=None, sa_column=Column(Text))
    task_run_id: str | None = Field(default=None, sa_column=Column(Text))
    started_at: datetime | None = Field(default=None, sa_column=_timestamp())
    failed_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))

    __table_args__ = (
        Index("ix_job_failures_failed_at", desc("failed_at")),
        Index("ix_job_failures_fingerprint", "fingerprint", desc("failed_at")),
    )


class JobTypeRow(SQLModel, table=True):
    """One job type: what the code declares, written when a worker starts, and what operators set."""

    __tablename__ = "job_types"

    job_type: str = Field(sa_column=Column(String(JOB_TYPE_LENGTH), primary_key=True))
    description: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=text("''")))
    payload_schema: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="JSON Schema.")
    )
    max_retries: int = Field(default=3, sa_column=Column(Integer, nullable=False, server_default=text("3")))
    timeout_seconds: float | None = Field(default=None, sa_column=Column(Double))
    batch_size: int | None = Field(default=None, sa_column=Column(Integer))
    updated_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    paused: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": text("false")})
    max_running: int | None = Field(
        default=None, sa_column=Column(Integer, comment="Most at once, over all workers; NULL: no limit.")
    )
    starts_per_second: float | None = Field(
        default=None, sa_column=Column(Double, comment="Over all workers; NULL: no limit.")
    )
    start_tokens: float = Field(
        default=0, sa_column=Column(Double, nullable=False, server_default=text("0"), comment="Starts saved up.")
    )
    tokens_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    held_until: datetime | None = Field(default=None, sa_column=_timestamp())
    held_reason: str | None = Field(default=None, sa_column=Column(Text))
    services: list[str] = Field(
        sa_column=Column(
            ARRAY(Text),
            nullable=False,
            server_default=text("'{}'::text[]"),
            comment="What it cannot run without; an open breaker of one holds the type.",
        )
    )

    __table_args__ = (
        CheckConstraint("max_running >= 0", name="job_types_max_running_not_negative"),
        # NaN and infinity are more than any number: with either, nobody could claim of the type.
        CheckConstraint("starts_per_second BETWEEN 0 AND 1000000", name="job_types_starts_per_second_0_to_1000000"),
    )


class ServiceRow(SQLModel, table=True):
    """A service that jobs reach, as the workers find it; `held_until` in `job_types` is what follows from it."""

    __tablename__ = "services"

    service: str = Field(sa_column=Column(Text, primary_key=True))
    breaker: str = Field(default="closed", sa_column=Column(Text, nullable=False, server_default=text("'closed'")))
    changed_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    open_until: datetime | None = Field(default=None, sa_column=_timestamp())
    reason: str | None = Field(default=None, sa_column=Column(Text, comment="Why the breaker opened last."))
    next_turn: datetime | None = Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=True), comment="When the next call may begin, where calls per second are limited."
        ),
    )

    __table_args__ = (
        CheckConstraint("breaker IN ('closed', 'open')", name="services_breaker"),
    )


class WorkerRow(SQLModel, table=True):
    """One worker and its heartbeat."""

    __tablename__ = "workers"

    worker_id: str = Field(sa_column=Column(Text, primary_key=True))
    host: str = Field(sa_column=Column(Text, nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    job_types: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    started_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    beat_at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    waiting: bool = Field(
        default=False, nullable=False, sa_column_kwargs={"server_default": text("false"), "comment": "Idle: notify it."}
    )
    stop_requested: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": text("false")})
    flow_run_id: str | None = Field(default=None, sa_column=Column(Text))
    stopped_at: datetime | None = Field(default=None, sa_column=_timestamp())


class JobMetric(SQLModel, table=True):
    """The roll-up: what ended in one minute, per job type, priority and worker (later: hour, of all workers).

    `wait` and `run` are histograms (`models.histogram`): JSON objects from bucket number to count, which can be added.
    """

    __tablename__ = "job_metrics"

    bucket: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    resolution: int = Field(sa_column=Column(SmallInteger, primary_key=True, comment="Minutes: 1 or 60."))
    job_type: str = Field(sa_column=Column(String(JOB_TYPE_LENGTH), primary_key=True))
    priority: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    worker_id: str = Field(sa_column=Column(Text, primary_key=True, comment="Empty where no worker did it."))
    completed: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    failed: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    retried: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    cancelled: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    lost: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("0")))
    requeued: int = Field(
        sa_column=Column(Integer, nullable=False, server_default=text("0"), comment="Failed jobs put back by people.")
    )
    wait_seconds: float = Field(sa_column=Column(Double, nullable=False, server_default=text("0")))
    run_seconds: float = Field(sa_column=Column(Double, nullable=False, server_default=text("0")))
    wait: dict[str, int] = Field(sa_column=Column(JSONB, nullable=False, server_default=text("'{}'::jsonb")))
    run: dict[str, int] = Field(sa_column=Column(JSONB, nullable=False, server_default=text("'{}'::jsonb")))
    snoozed: int = Field(
        sa_column=Column(
            Integer, nullable=False, server_default=text("0"), comment="Put off by their processor; not an attempt."
        )
    )
    stage_micros: dict[str, int] = Field(
        sa_column=Column(
            JSONB,
            nullable=False,
            server_default=text("'{}'::jsonb"),
            comment="Microseconds by stage: fetch, work, record.",
        )
    )


class AuditEntry(SQLModel, table=True):
    """Who added, retried, cancelled, paused or deleted what, and when."""

    __tablename__ = "audit_log"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime = Field(default=None, sa_column=_timestamp(nullable=False, default_now=True))
    who: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    target: str = Field(sa_column=Column(Text, nullable=False))
    detail: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False, server_default=text("'{}'::jsonb")))

    __table_args__ = (Index("ix_audit_log_at", desc("at")), Index("ix_audit_log_target", "target"))
