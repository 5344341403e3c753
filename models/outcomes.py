"""Recording how attempts ended: many outcomes in one fenced statement, failures and the roll-up in its transaction."""

from __future__ import annotations

import re
import traceback as tracebacks
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from models import database
from models.claims import ClaimedJob
from models.rollup import RollUp
from models.sql import statement

#: Longer messages are cut; what comes behind is in the traceback.
MESSAGE_LIMIT = 4_000
#: A traceback keeps its end, where the cause stands.
TRACEBACK_LIMIT = 50_000


class Ending(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    RETRY = "retried"
    FAILED = "failed"
    #: Put off by its processor: no attempt is spent.
    SNOOZED = "snoozed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    error_class: str
    message: str
    traceback: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """From an exception, its message and traceback made fit for the database (no NUL, bounded)."""
        name = type(error).__qualname__
        text = "".join(tracebacks.format_exception(error))[-TRACEBACK_LIMIT:]
        try:
            message = str(error) or name
        except Exception as broken:
            message = f"{name}, whose str() raises {type(broken).__name__}"
        return cls(name, storable(message)[:MESSAGE_LIMIT], storable(text))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    `elapsed` is counted from the claim, `waited` from when the job was due to when its processor began, `ran` is the
    processor's own time; all in seconds. `result` is JSON text. `delay`: seconds until a retry, or a snooze's end, and
    `note` why it is put off. `stages`: seconds by stage, as the processor marked them.
    """

    job: ClaimedJob
    job_type: str
    ending: Ending
    elapsed: float
    waited: float
    ran: float
    task_run_id: str | None = None
    delay: float = 0.0
    failure: Failure | None = None
    result: str | None = None
    note: str | None = None
    stages: Mapping[str, float] = field(default_factory=dict)


def record(worker_id: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Writes the outcomes in one transaction, and returns those that were refused.

    Refused is what the worker no longer held: another worker rescued it, or it was cancelled. Nothing of it is written
    but a row in `job_failures` that says so.
    """
    ordered = sorted(outcomes, key=lambda outcome: outcome.job.id)
    with database.transaction() as connection:
        connection.execute(statement("along_the_indexes"))
        rows = connection.execute(
            statement("finish_jobs"),
            {
                "worker_id": worker_id,
                "ids": [outcome.job.id for outcome in ordered],
                "started_at": [outcome.job.started_at for outcome in ordered],
                "statuses": [_STATUS[outcome.ending] for outcome in ordered],
                "retries": [int(outcome.ending is Ending.RETRY) for outcome in ordered],
                "delays": [outcome.delay for outcome in ordered],
                "elapsed": [outcome.elapsed for outcome in ordered],
                "errors": [outcome.failure.message if outcome.failure else None for outcome in ordered],
                "fingerprints": [_group(outcome) for outcome in ordered],
                "results": [outcome.result for outcome in ordered],
                "notes": [outcome.note for outcome in ordered],
                "task_run_ids": [outcome.task_run_id for outcome in ordered],
            },
        ).fetchall()
        # By attempt: a job that was taken away and claimed again may come with two outcomes at once.
        accepted = set(rows)
        done = [outcome for outcome in ordered if (outcome.job.id, outcome.job.started_at) in accepted]
        refused = [outcome for outcome in ordered if (outcome.job.id, outcome.job.started_at) not in accepted]
        failures = [(outcome, outcome.failure) for outcome in done if outcome.failure]
        failures += [(outcome, _refusal(outcome)) for outcome in refused]
        if failures:
            connection.execute(
                statement("insert_failures"),
                {
                    "worker_id": worker_id,
                    "ids": [outcome.job.id for outcome, _ in failures],
                    "attempts": [outcome.job.attempt for outcome, _ in failures],
                    "error_classes": [failure.error_class for _, failure in failures],
                    "messages": [failure.message for _, failure in failures],
                    "tracebacks": [failure.traceback for _, failure in failures],
                    "fingerprints": [fingerprint(outcome.job_type, failure) for outcome, failure in failures],
                    "task_run_ids": [outcome.task_run_id for outcome, _ in failures],
                    "started_at": [outcome.job.started_at for outcome, _ in failures],
                },
            )
        roll_up = RollUp(worker_id)
        for outcome in done:
            if outcome.ending is Ending.SNOOZED:
                roll_up.count(outcome.job_type, outcome.job.priority, outcome.ending)
                continue
            roll_up.attempt(
                outcome.job_type,
                outcome.job.priority,
                outcome.ending,
                waited=outcome.waited,
                ran=outcome.ran,
                stages=outcome.stages,
            )
        roll_up.write(connection)
        if any(_STATUS[outcome.ending] == "pending" for outcome in done):
            # An idle worker knows when to look again by what it saw last. Asked first, as in `background_jobs_wake`.
            connection.execute(
                "SELECT pg_notify('background_jobs', '') WHERE EXISTS (SELECT FROM workers WHERE waiting)"
            )
    return refused


_STATUS = {Ending.COMPLETED: "completed", Ending.RETRY: "pending", Ending.FAILED: "failed", Ending.SNOOZED: "pending"}


def _group(outcome: Outcome) -> str:
    return fingerprint(outcome.job_type, outcome.failure) if outcome.failure else ""


def _refusal(outcome: Outcome) -> Failure:
    return Failure(
        "LeaseLost",
        f"finished ({outcome.ending}) after the job had been taken away (rescued, cancelled or deleted): not recorded",
    )


def storable(text: str) -> str:
    """The text as PostgreSQL takes it: no NUL, no lone surrogates."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


#: What differs between two occurrences of one error: quoted values, ids, addresses, numbers. An address is looked for
#: where a word begins only: anywhere, 4,000 characters without a space took 40 ms, and a batch has a thousand messages.
_VALUES = re.compile(
    r"""'[^']*' | "[^"]*" | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12} | 0x[0-9a-f]+ | (?<!\S)[^\s@]+@\S+
    | -?\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?""",
    re.IGNORECASE | re.VERBOSE,
)


def fingerprint(job_type: str, failure: Failure) -> str:
    """The group of an error: job type, error class, and the message's first line with its values taken out."""
    first_line = failure.message.partition("\n")[0]
    # An entry of its index takes 2,700 bytes.
    return f"{job_type}:{failure.error_class[:200]}:{_VALUES.sub('*', first_line)[:200]}"
