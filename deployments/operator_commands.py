"""What operators do, on the command line: the same service functions as the dashboard's and the API's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, TypeVar

from cyclopts import App, Parameter

from deployments import output
from deployments.output import CommandError, Json
from models import bulk, listing, operations
from models.door import LATEST
from models.filters import JobFilter, Period
from models.operations import UNCHANGED, ActionResult, Actor
from models.roles import system_user

JobTypeOption = Annotated[str | None, Parameter(name="--type")]
NO_LIMIT = "none"
Number = TypeVar("Number", int, float)


def register(app: App) -> None:
    """Adds the commands to `jobs`."""
    for command in (retry, cancel, undo, groups, pause, resume, limit):
        app.command(command)


def retry(
    *job_ids: str,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    job_type: JobTypeOption = None,
    error_text: str | None = None,
    fingerprint: str | None = None,
    since: datetime | None = None,
    rate: float | None = None,
    json_: Json = False,
) -> int:
    """Make failed or cancelled jobs pending again, with a fresh retry budget. Exit 1 when some could not be.

    Args:
        all_: instead of ids: all failed jobs, or those that match what follows, of any number. Ctrl-C stops it; `jobs
            undo` takes back what has not started.
        job_type: only this type.
        error_text: only with this text in the error message or the payload; fields of it that are, or hold, a secret
            are not searched.
        fingerprint: only of this error group; `jobs groups` lists them.
        since: only what failed at or after this time, with its zone, for example 2030-01-31T08:00+00:00.
        rate: so many become due a second; left out: all at once.
    """
    narrowed = [job_type, error_text, fingerprint, since, rate]
    if not all_:
        if any(each is not None for each in narrowed):
            raise CommandError("--type, --error-text, --fingerprint, --since and --rate go with --all")
        return _act("retried", job_ids, json_, "neither failed nor cancelled, or its unique key is taken")
    if job_ids:
        raise CommandError("expected job ids or --all, got both")
    with _said():
        period = Period(since, LATEST) if since is not None else None
        filter = JobFilter(
            job_types=(job_type,) if job_type else (), text=error_text or "", fingerprint=fingerprint, period=period
        )
        preview = bulk.preview_retry(filter)
        action_id, runner = bulk.create_bulk_retry(filter, rate, command_actor())
    if preview.warning:
        output.errors.print(preview.warning, style="yellow", markup=False, highlight=False)
    progress = _run(action_id, runner, quiet=json_)
    if json_:
        output.print_json({**asdict(progress), "warning": preview.warning})
    else:
        skipped = f", {progress.skipped:,} could not be" if progress.skipped else ""
        print(f"{progress.done:,} retried{skipped} ({progress.state}); to take it back: jobs undo {action_id}")
    return 0 if progress.state == "done" and not progress.skipped else 1


def cancel(*job_ids: str, json_: Json = False) -> int:
    """Cancel pending or running jobs. Exit 1 when some had ended already."""
    return _act("cancelled", job_ids, json_, "neither pending nor running")


def undo(action_id: str, /, *, json_: Json = False) -> int:
    """Take back a retry, for the jobs that have not started since.

    Args:
        action_id: as `jobs retry` printed it.
    """
    with _said():
        return _print(operations.undo(action_id, command_actor()), json_)


def groups(*, job_type: JobTypeOption = None, limit: int = 20, json_: Json = False) -> int:
    """List the errors of failed jobs by group, the largest first.

    Args:
        job_type: only this type.
        limit: how many groups, at most 1000.
    """
    if not 1 <= limit <= listing.MOST_ROWS:
        raise CommandError(f"--limit: expected 1 to {listing.MOST_ROWS}, got {limit}")
    with _said():
        frame = listing.failed_groups(JobFilter(job_types=(job_type,) if job_type else ()), limit)
    rows = frame.to_dict("records")
    if json_:
        output.print_json(rows)
        return 0
    output.print_table(
        f"{len(rows)} groups of failed jobs",
        ("jobs", "type", "error", "message", "last seen", "retried, failed again", "fingerprint"),
        [
            (
                row["jobs"], row["job_type"], row["error_class"], row["message"][:80], row["last_seen"].to_pydatetime(),
                f"{row['retried_since']}, {row['failed_again']}" if row["retried_since"] else "", row["fingerprint"],
            )
            for row in rows
        ],
    )  # fmt: skip
    return 0


def pause(job_type: str, /, *, json_: Json = False) -> int:
    """Start no more jobs of a type until `jobs resume`; what runs goes on."""
    with _said():
        return _print(operations.pause(job_type, command_actor()), json_)


def resume(job_type: str, /, *, json_: Json = False) -> int:
    """Start jobs of a paused type again."""
    with _said():
        return _print(operations.resume(job_type, command_actor()), json_)


def limit(
    job_type: str, /, *, max_running: str | None = None, starts_per_second: str | None = None, json_: Json = False
) -> int:
    """Limit a job type, over all workers; what is left out stays as it is.

    Args:
        max_running: jobs at once, or none for no limit.
        starts_per_second: jobs begun a second, or none for no limit.
    """
    if max_running is None and starts_per_second is None:
        raise CommandError("expected --max-running or --starts-per-second, got neither")
    with _said():
        result = operations.set_limits(
            job_type,
            max_running=UNCHANGED if max_running is None else _limit("--max-running", max_running, int),
            starts_per_second=(
                UNCHANGED if starts_per_second is None else _limit("--starts-per-second", starts_per_second, float)
            ),
            actor=command_actor(),
        )
    return _print(result, json_)


def _limit(name: str, text: str, number: Callable[[str], Number]) -> Number | None:
    if text == NO_LIMIT:
        return None
    try:
        return number(text)
    except ValueError:
        raise CommandError(f"{name}: expected a number or {NO_LIMIT}, got {text!r:.40}") from None


def command_actor() -> Actor:
    """Whoever may reach the database with this command may do all that it can."""
    return Actor(system_user(), "operator")


def _act(done: str, job_ids: tuple[str, ...], as_json: bool, why_not: str) -> int:
    if not job_ids:
        raise CommandError("expected one job id or more, got none")
    act = operations.retry if done == "retried" else operations.cancel
    result = act(job_ids, command_actor())
    outcome = {job_id: job_id in result.ids for job_id in job_ids}
    if as_json:
        output.print_json(outcome)
    else:
        for job_id, ok in outcome.items():
            print(f"{job_id}: {done}" if ok else f"{job_id}: not {done} (there is no such job, or it is {why_not})")
        if result.action_id is not None:
            print(f"to take it back: jobs undo {result.action_id}")
    return 0 if all(outcome.values()) else 1


def _run(action_id: str, runner: str, *, quiet: bool) -> bulk.BulkProgress:
    progress = bulk.find_bulk(action_id)
    try:
        for progress in bulk.run_bulk(action_id, runner):
            if not quiet and progress.state == "running":
                of = "" if progress.total is None else f" of {progress.total:,}"
                output.errors.print(f"{progress.done:,}{of} retried", highlight=False)
    except KeyboardInterrupt:
        bulk.stop_bulk(action_id, command_actor())
        progress = bulk.find_bulk(action_id)
    return progress


def _print(result: ActionResult, as_json: bool) -> int:
    if as_json:
        output.print_json(asdict(result))
    else:
        print(result.text)
    return 0


@contextmanager
def _said() -> Iterator[None]:
    """What a service function refuses is for the person who typed the command."""
    try:
        yield
    except (ValueError, LookupError) as error:
        raise CommandError(str(error)) from None
