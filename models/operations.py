"""What operators do, for the dashboard, the API and the command line alike: refused to viewers, and audited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from models import adding, database
from models.actions import audit, cancel_jobs, retry_jobs
from models.adding import AddedJob
from models.bulk import Preview, begin_bulk_retry, bulk_actions, preview_retry, resume_bulk, stop_bulk
from models.door import InvalidJobError
from models.ids import can_be_stored, new_job_id
from models.roles import Actor, require_operator
from models.undo import take_back

__all__ = [
    "UNCHANGED", "ActionResult", "Actor", "Preview", "UnknownJobTypeError", "add_job", "add_jobs", "begin_bulk_retry",
    "bulk_actions", "cancel", "pause", "preview_retry", "require_operator", "resume", "resume_bulk", "retry",
    "set_limits", "stop_bulk", "undo",
]  # fmt: skip


class _Unchanged(Enum):
    UNCHANGED = "unchanged"


#: A limit that stays as it is.
UNCHANGED: Final = _Unchanged.UNCHANGED
Unchanged = Literal[_Unchanged.UNCHANGED]

#: The bounds of the table's own checks.
MOST_STARTS_PER_SECOND = 1_000_000
MOST_RUNNING = 2**31 - 1


class UnknownJobTypeError(ValueError):
    """No worker has declared a job type of that name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """How many it was done to, how many were passed over, and both in words: "48 retried, 2 were already running".

    With an `action_id`, `undo` takes back what has not started. `ids`: the jobs it was done to, where ids were given.
    """

    done: int
    skipped: int
    text: str
    action_id: str | None = None
    ids: tuple[str, ...] = ()


def add_job(job: Mapping[str, Any], actor: Actor) -> AddedJob:
    """Adds a job, of `job_queue.add_job`'s arguments.

    Raises:
        PermissionError: for a viewer.
        InvalidJobError: when it cannot be added.
    """
    try:
        (added,) = add_jobs([job], actor)
    except InvalidJobError as error:
        # Who adds one job counts no jobs.
        raise type(error)(str(error).removeprefix("job 0: ")) from None
    return added


def add_jobs(jobs: Sequence[Mapping[str, Any]], actor: Actor) -> list[AddedJob]:
    """Adds the jobs, all or none; in the audit log they are one entry.

    Raises:
        PermissionError: for a viewer.
        InvalidJobError: naming the first job that cannot be added, counted from 0; nothing is stored.
    """
    require_operator(actor)
    return adding.add_jobs(jobs, who=actor.name)


def retry(ids: Sequence[str], actor: Actor) -> ActionResult:
    """Makes failed or cancelled jobs pending again, due now, with fresh retry budgets.

    Raises:
        PermissionError: for a viewer.
    """
    require_operator(actor)
    action_id = new_job_id()
    done = retry_jobs(ids, who=actor.name, action_id=action_id)
    taken = {"failed": "not, as a job that waits or runs has the unique key"}
    return _result("retried", ids, done, {**taken, "cancelled": taken["failed"]}, action_id if done else None)


def cancel(ids: Sequence[str], actor: Actor) -> ActionResult:
    """Cancels pending and running jobs.

    Raises:
        PermissionError: for a viewer.
    """
    require_operator(actor)
    return _result("cancelled", ids, cancel_jobs(ids, who=actor.name), {})


def undo(action_id: str, actor: Actor) -> ActionResult:
    """Takes back a retry, of chosen jobs or in bulk, for the jobs that have not started since.

    Raises:
        PermissionError: for a viewer.
        LookupError: when there is no such action.
    """
    taken, left = take_back(action_id, actor)
    texts = [f"{taken:,} taken back"]
    if left:
        texts.append(f"{left:,} {'has' if left == 1 else 'have'} started already")
    return ActionResult(taken, left, ", ".join(texts))


def pause(job_type: str, actor: Actor) -> ActionResult:
    """No job of the type is started until it is resumed; what runs goes on.

    Raises:
        PermissionError: for a viewer.
        UnknownJobTypeError: for a type that no worker has declared.
    """
    return _set_paused(job_type, True, actor)


def resume(job_type: str, actor: Actor) -> ActionResult:
    """Jobs of the type are started again. Raises as `pause` does."""
    return _set_paused(job_type, False, actor)


def set_limits(
    job_type: str,
    *,
    max_running: int | None | Unchanged = UNCHANGED,
    starts_per_second: float | None | Unchanged = UNCHANGED,
    actor: Actor,
) -> ActionResult:
    """Limits a job type over all workers; None takes a limit away, and what is left out stays.

    Args:
        max_running: jobs of the type at once, 0 or more.
        starts_per_second: jobs of the type begun in a second, 0 to a million.

    Raises:
        PermissionError: for a viewer.
        UnknownJobTypeError: for a type that no worker has declared.
        ValueError: for a number out of range.
    """
    require_operator(actor)
    wanted: dict[str, Any] = {}
    if max_running is not UNCHANGED:
        if max_running is not None and not _whole(max_running, MOST_RUNNING):
            raise ValueError(f"max_running: expected a whole number from 0, or none, got {max_running!r}")
        wanted["max_running"] = max_running
    if starts_per_second is not UNCHANGED:
        if starts_per_second is not None and not _number(starts_per_second, MOST_STARTS_PER_SECOND):
            raise ValueError(
                f"starts_per_second: expected 0 to {MOST_STARTS_PER_SECOND:,}, or none, got {starts_per_second!r}"
            )
        wanted["starts_per_second"] = starts_per_second
    with database.transaction() as connection:
        before = connection.execute(
            "SELECT max_running, starts_per_second FROM job_types WHERE job_type = %s FOR UPDATE",
            [_storable(job_type)],
        ).fetchone()
        if before is None:
            raise _unknown(connection, job_type)
        was = dict(zip(("max_running", "starts_per_second"), before, strict=True))
        changed = {name: limit for name, limit in wanted.items() if limit != was[name]}
        if not changed:
            return ActionResult(0, 1, f"{job_type} has these limits already")
        limits = {**was, **changed}
        connection.execute(
            "UPDATE job_types SET max_running = %s, starts_per_second = %s WHERE job_type = %s",
            [limits["max_running"], limits["starts_per_second"], job_type],
        )
        connection.execute("NOTIFY background_jobs")
        audit(connection, actor.name, "set_limits", job_type, {"was": was, **changed})
    return ActionResult(1, 0, f"{job_type}: {_limits_in_words(limits)}")


def _set_paused(job_type: str, paused: bool, actor: Actor) -> ActionResult:
    require_operator(actor)
    word = "paused" if paused else "resumed"
    with database.transaction() as connection:
        row = connection.execute(
            "UPDATE job_types SET paused = %s FROM (SELECT paused AS was FROM job_types WHERE job_type = %s FOR UPDATE)"
            " AS before WHERE job_type = %s RETURNING was",
            [paused, _storable(job_type), _storable(job_type)],
        ).fetchone()
        if row is None:
            raise _unknown(connection, job_type)
        if row[0] == paused:
            return ActionResult(0, 1, f"{job_type} {'was paused already' if paused else 'was not paused'}")
        if not paused:
            connection.execute("NOTIFY background_jobs")
        audit(connection, actor.name, "pause" if paused else "resume", job_type, {})
    return ActionResult(1, 0, f"{job_type} {word}")


def _unknown(connection: Any, job_type: str) -> UnknownJobTypeError:
    rows = connection.execute("SELECT job_type FROM job_types ORDER BY job_type").fetchall()
    known = ", ".join(row[0] for row in rows) or "none: no worker has started yet"
    return UnknownJobTypeError(f"expected a job type that a worker has declared ({known}), got {job_type!r:.80}")


def _storable(text: str) -> str | None:
    return text if can_be_stored(text) else None


def _whole(number: object, most: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most


def _number(number: object, most: float) -> bool:
    # Asked for what is right, so that NaN, of which no comparison is true, is refused too.
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= most


def _limits_in_words(limits: dict[str, Any]) -> str:
    running, starts = limits["max_running"], limits["starts_per_second"]
    words = []
    if running is not None:
        words.append(f"at most {running:,} running")
    if starts is not None:
        words.append(f"at most {starts:,.10g} started a second")
    return " and ".join(words) or "no limits"


_SKIPPED = {
    "pending": ("was already waiting", "were already waiting"),
    "processing": ("was already running", "were already running"),
    "completed": ("had already completed", "had already completed"),
    "failed": ("had already failed", "had already failed"),
    "cancelled": ("was already cancelled", "were already cancelled"),
    None: ("is not there any more", "are not there any more"),
}


def _result(
    word: str, ids: Sequence[str], done: Sequence[str], reasons: dict[str, str], action_id: str | None = None
) -> ActionResult:
    asked = set(ids)
    left = asked - set(done)
    texts = [f"{len(done):,} {word}"]
    for status, jobs in _statuses(left):
        one, many = _SKIPPED[status]
        texts.append(f"{jobs:,} {reasons.get(status or '') or (one if jobs == 1 else many)}")
    return ActionResult(len(done), len(left), ", ".join(texts), action_id, tuple(done))


def _statuses(ids: set[str]) -> list[tuple[str | None, int]]:
    """What those jobs are now, and how many of each; None: not there."""
    storable = [job_id for job_id in ids if can_be_stored(job_id)]
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT status, count(*) FROM background_jobs WHERE id = ANY (%s::text[]) GROUP BY status", [storable]
        ).fetchall()
    counts: Counter[str | None] = Counter({status: jobs for status, jobs in rows})
    counts[None] = len(ids) - sum(counts.values())
    return [(status, counts[status]) for status in _SKIPPED if counts[status]]

