"""Adding jobs, listing them, one in full, cancelling."""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
from fastapi import Body, Path, Query, Response
from pydantic import Discriminator, Field, Tag

from dashboard.api.description import answers
from dashboard.api.problems import Refusal
from dashboard.api.routing import Caller, router
from dashboard.api.shapes import (
    JOB_ID,
    AddedJob,
    AddedJobs,
    Done,
    FailedAttempt,
    Job,
    JobInFull,
    JobPage,
    JobToAdd,
    Moment,
    Status,
)
from models import listing, lookup, operations
from models.door import EARLIEST, LATEST
from models.filters import TEXT_LIMIT, JobFilter, Period
from models.ids import can_be_stored
from models.jobs import JOB_TYPE_LENGTH
from models.masking import masked

#: Ten payloads of the largest size; more come in parts.
BATCH_LIMIT_BYTES = 10 * 1024 * 1024
BATCH_LIMIT_JOBS = 1000

reads = router("viewer", "jobs")
adds = router("operator", "jobs", body_limit=BATCH_LIMIT_BYTES)
acts = router("operator", "jobs")

_Many = Annotated[list[JobToAdd], Field(min_length=1, json_schema_extra={"maxItems": BATCH_LIMIT_JOBS})]
_OneOrMany = Annotated[
    Annotated[JobToAdd, Tag("one")] | Annotated[_Many, Tag("many")],
    Discriminator(lambda sent: "many" if isinstance(sent, list) else "one"),
]
JobId = Annotated[str, Path(description="A job's id.", min_length=1, max_length=255)]


@adds.post(
    "/jobs",
    operation_id="addJobs",
    summary="Add one job, or many",
    status_code=201,
    response_model=AddedJob | AddedJobs,
    responses={
        200: {"description": "Nothing was added: the unique keys were taken.", "model": AddedJob | AddedJobs},
        201: {
            "description": "Added, all of them or none. One job is answered with one, a list with a list.",
            "content": {"application/json": {"example": {"id": JOB_ID, "added": True}}},
        },
        **answers(400, 413, 415, 422),
    },
)
def add_jobs(sent: Annotated[_OneOrMany, Body()], response: Response, caller: Caller) -> AddedJob | AddedJobs:
    """Adds a job, or a list of up to 1,000, all or none. With a `uniqueKey` it may be sent again and again: while a job
    of that key waits or runs, its id is the answer, and `added` is false."""
    if isinstance(sent, JobToAdd):
        found = [operations.add_job(sent.model_dump(), caller)]
    elif len(sent) > BATCH_LIMIT_JOBS:
        raise Refusal(413, f"expected at most {BATCH_LIMIT_JOBS:,} jobs, got {len(sent):,}; send them in parts")
    else:
        found = operations.add_jobs([job.model_dump() for job in sent], caller)
    added = [AddedJob(id=job.id, added=job.added) for job in found]
    new = sum(job.added for job in added)
    response.status_code = 201 if new else 200
    return added[0] if isinstance(sent, JobToAdd) else AddedJobs(jobs=added, added=new)


@reads.get(
    "/jobs",
    operation_id="listJobs",
    summary="The jobs, newest first",
    responses=answers(422, s422="cursor: expected one that an earlier page gave"),
)
def list_jobs(
    status: Annotated[list[Status] | None, Query(description="One or several times.", max_length=5)] = None,
    type: Annotated[
        list[Annotated[str, Field(max_length=JOB_TYPE_LENGTH)]] | None,
        Query(description="Job types; one or several times.", max_length=50),
    ] = None,
    priority: Annotated[
        list[Annotated[int, Field(ge=1, le=10)]] | None, Query(description="One or several times.", max_length=10)
    ] = None,
    text: Annotated[
        str,
        Query(
            description="In the error message or the payload; not in fields of it that are, or hold, a secret.",
            max_length=TEXT_LIMIT,
        ),
    ] = "",
    since: Annotated[Moment | None, Query(description="Added at or after (failed jobs alone: failed).")] = None,
    until: Annotated[Moment | None, Query(description="Added before (failed jobs alone: failed).")] = None,
    cursor: Annotated[str | None, Query(description="`nextCursor` of the page before.", max_length=1000)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """A page of jobs. It looks at 20,000 jobs at most: where few pass the filter, it may be short, even empty, and have
    a `nextCursor` all the same. Go on until that is null."""
    try:
        filter = JobFilter(
            statuses=tuple(status or ()),
            job_types=tuple(type or ()),
            priorities=tuple(priority or ()),
            text=text,
            period=Period(since or EARLIEST, until or LATEST) if since or until else None,
        )
    except ValueError as error:
        raise Refusal(422, str(error)) from None
    try:
        page = listing.page(filter, cursor, limit)
    except listing.CursorError:
        raise Refusal(422, "cursor: expected one that an earlier page of this list gave; begin without one") from None
    return JobPage(jobs=[_listed(row) for row in page.frame.to_dict("records")], next_cursor=page.next_cursor)


@reads.get(
    "/jobs/{job_id}", operation_id="getJob", summary="One job in full", responses=answers(404, 422)
)
def get_job(job_id: JobId) -> JobInFull:
    """A job with its payload and result (secrets masked) and its failed attempts."""
    job = lookup.find_job(job_id)
    if job is None:
        raise _no_such(job_id)
    attempts = [FailedAttempt.model_validate(each, from_attributes=True) for each in lookup.failures_of(job_id)]
    values = job.model_dump()
    values["payload"] = masked(job.payload, lookup.payload_schema(job.job_type))
    values["result"] = masked(job.result)
    return JobInFull(**values, type=job.job_type, failed_attempts=attempts)


@acts.post(
    "/jobs/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    responses=answers(404, 409, 422, s409="expected a pending or processing job, got one that is completed"),
)
def cancel_job(job_id: JobId, caller: Caller) -> Done:
    """Cancels a waiting job, or a running one: its worker interrupts it."""
    if operations.cancel([job_id], caller).done:
        return Done(job_id=job_id)
    raise not_possible(job_id, "a pending or processing job")


def not_possible(job_id: str, expected: str) -> Refusal:
    """404 where there is no such job, else 409 with what it is instead of what was expected."""
    job = lookup.find_job(job_id)
    if job is None:
        return _no_such(job_id)
    return Refusal(409, f"expected {expected}, got one that is {job.status}")


def _no_such(job_id: str) -> Refusal:
    shown = job_id if can_be_stored(job_id) else "of that id"
    return Refusal(404, f"there is no job {shown!r:.270}")


def _listed(row: dict[Any, Any]) -> Job:
    def time(name: str) -> Any:
        return None if pd.isna(row[name]) else row[name].to_pydatetime()

    return Job(
        id=row["id"],
        type=row["job_type"],
        status=row["status"],
        priority=row["priority"],
        retry_count=row["attempts"] - 1,
        max_retries=row["max_retries"],
        scheduled_for=time("scheduled_for"),
        started_at=time("started_at"),
        completed_at=time("completed_at"),
        error_message=row["error_message"],
        created_at=time("created_at"),
        worker_id=row["worker_id"],
        progress=None if pd.isna(row["progress"]) else row["progress"],
    )
