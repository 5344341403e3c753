"""What the API takes and gives, as JSON: names in camelCase, times in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from models.door import EARLIEST, LATEST, MOST_RETRIES
from models.jobs import JOB_TYPE_LENGTH, JobStatus
from models.priority import HIGHEST_PRIORITY, LOWEST_PRIORITY

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
assert set(Status.__args__) == set(JobStatus)  # type: ignore[attr-defined]

JOB_ID = "0199c0de-7a1b-7c3d-8e4f-5a6b7c8d9e0f"
_JOB = {
    "id": JOB_ID, "type": "send_promotion", "status": "failed", "priority": 7, "retryCount": 3, "maxRetries": 3,
    "scheduledFor": "2026-01-24T10:00:00Z", "startedAt": "2026-01-24T10:01:03.5Z",
    "completedAt": "2026-01-24T10:01:04.7Z", "errorMessage": "SMTP connection failed",
    "createdAt": "2026-01-24T10:00:00Z", "workerId": None, "progress": 0.5,
}  # fmt: skip
_ATTEMPT = {
    "attempt": 1, "errorClass": "SMTPConnectError", "message": "SMTP connection failed",
    "failedAt": "2026-01-24T10:00:02.1Z",
}  # fmt: skip
_JOB_IN_FULL = {
    **_JOB,
    "payload": {"customerId": "c-17", "promotionId": "spring-refresh"}, "result": None,
    "uniqueKey": "spring-refresh:c-17", "updatedAt": "2026-01-24T10:01:04.7Z", "progressNote": "rendered",
    "lostCount": 0, "flowRunId": None, "taskRunId": None,
    "failedAttempts": [_ATTEMPT],
}  # fmt: skip
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")


def _written_out(value: Any) -> Any:
    # Pydantic takes numbers too, as seconds since 1970, even in a text: nobody means that here.
    if not isinstance(value, str) or not _DATE.match(value):
        raise ValueError("expected text such as 2026-01-24T10:00:00Z")
    return value


def _in_range(value: datetime) -> datetime:
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or not EARLIEST <= moment <= LATEST:
        raise ValueError("expected a time from 1970 to 9998")
    return moment


#: A time with its zone, written out.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out), AfterValidator(_in_range)]
#: A time as the guide writes it: UTC, with a Z.
UtcTime = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str),
    Field(json_schema_extra={"format": "date-time"}),
]


def _with(example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class Shape(BaseModel):
    """camelCase outside, snake_case inside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Asked(BaseModel):
    """What is sent in: only known names, no number for a text and no text for a number."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class JobToAdd(Asked):
    """A job to add, as `job_queue.add_job` takes it."""

    model_config = _with(
        {
            "type": "send_promotion", "payload": {"customerId": "c-17", "promotionId": "spring-refresh"},
            "priority": 7, "uniqueKey": "spring-refresh:c-17",
        }
    )  # fmt: skip

    type: str = Field(description="A job type's name.", min_length=1, max_length=JOB_TYPE_LENGTH)
    payload: dict[str, Any] = Field({}, description="What the type's payload model takes; at most 1 MiB of JSON.")
    priority: int = Field(5, ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY, description="10 runs first.")
    max_retries: int | None = Field(
        None, ge=0, le=MOST_RETRIES, description="Attempts after the first; left out: the type's own."
    )
    scheduled_for: Moment | None = Field(None, description="Not before this time; left out: now.")
    unique_key: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="At most one pending or processing job has it; if one does, its id is the answer.",
    )


class AddedJob(Shape):
    model_config = _with({"id": JOB_ID, "added": True})

    id: str
    added: bool = Field(description="false: a waiting or running job had the unique key; this is its id.")


class AddedJobs(Shape):
    model_config = _with({"jobs": [{"id": JOB_ID, "added": True}], "added": 1})

    jobs: list[AddedJob] = Field(description="In the order they were sent.")
    added: int = Field(description="How many of them are new.")


class Job(Shape):
    """A job without its payload and result, which may be long."""

    model_config = _with(_JOB)

    id: str
    type: str
    status: Status
    priority: int
    retry_count: int
    max_retries: int
    scheduled_for: UtcTime
    started_at: UtcTime | None
    completed_at: UtcTime | None
    error_message: str | None
    created_at: UtcTime
    worker_id: str | None
    progress: float | None = Field(description="Reported share done, 0 to 1.")


class JobPage(Shape):
    model_config = _with({"jobs": [_JOB], "nextCursor": "WyJjcmVhdGVkX2F0IiwgIjIwMjYt..."})

    jobs: list[Job] = Field(description="Newest first. May be short, or empty, where few jobs pass the filter.")
    next_cursor: str | None = Field(description="For the next page; null: this was the last one.")


class FailedAttempt(Shape):
    model_config = _with(_ATTEMPT)

    attempt: int
    error_class: str
    message: str
    failed_at: UtcTime


class JobInFull(Job):
    """A job with its payload and result, secrets masked, and its failed attempts."""

    model_config = _with(_JOB_IN_FULL)

    payload: Any = Field(description="Fields that are secret are `***`.")
    result: Any
    unique_key: str | None
    updated_at: UtcTime
    progress_note: str | None
    lost_count: int = Field(description="Times its worker died.")
    flow_run_id: str | None = Field(description="Prefect flow run of the last attempt.")
    task_run_id: str | None = Field(description="Prefect task run of the last attempt.")
    failed_attempts: list[FailedAttempt] = Field(description="Oldest first.")


class Done(Shape):
    model_config = _with({"success": True, "jobId": JOB_ID})

    success: Literal[True] = True
    job_id: str


class Queued(Shape):
    model_config = _with({"success": True, "queued": 42})

    success: Literal[True] = True
    queued: int = Field(description="How many jobs are new.")


class JobStats(Shape):
    """The guide's figures."""

    model_config = _with(
        {
            "total": 1523, "pending": 42, "processing": 3, "completed": 1450, "failed": 28,
            "successRate": "98.1%", "avgProcessingTime": "1.2s",
        }
    )  # fmt: skip

    total: int = Field(description="The sum of the four below.")
    pending: int = Field(description="Exact up to 100,000, estimated above.")
    processing: int
    completed: int = Field(description="Of the last 13 months: it outlives the jobs themselves.")
    failed: int = Field(description="Of the last 13 months, without those put back.")
    success_rate: str | None = Field(description="completed / (completed + failed); null before anything ended.")
    avg_processing_time: str | None = Field(description="Mean run time of an attempt; null before the first.")


class FailedJob(Shape):
    """The guide's item."""

    model_config = _with(
        {
            "id": "job-123", "type": "send_promotion", "status": "failed", "retryCount": 3,
            "errorMessage": "SMTP connection failed", "createdAt": "2025-01-24T10:00:00Z",
        }
    )  # fmt: skip

    id: str
    type: str
    status: Literal["failed"]
    retry_count: int
    error_message: str | None
    created_at: UtcTime


class JobToRetry(Asked):
    model_config = _with({"jobId": "job-123"})

    job_id: str = Field(min_length=1, max_length=255)
