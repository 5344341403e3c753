"""`jobs`, the command line."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import psycopg
import sqlalchemy.exc
from cyclopts import App, CycloptsError, Parameter

from deployments import output
from deployments.operator_commands import command_actor, register
from deployments.output import CommandError, Json
from deployments.prefect_settings import apply_prefect_settings
from deployments.processes import ChildError
from models import database, job_queue, lookup, operations, passwords, registry
from models.crm_import import CrmImportError
from models.door import InvalidJobError
from models.embedded import EmbeddedPostgresError
from models.schema import SchemaError, ensure_schema
from models.settings import SettingsError, settings

app = App(
    name="jobs",
    help="The job queue of the Dirt Free CRM: rows of one PostgreSQL table, run by Prefect.",
    help_format="plaintext",
    version="0.1.0",
)
register(app)

#: What a user can mend: shown as one message, without a traceback.
_PLAIN_ERRORS = (
    SettingsError,
    InvalidJobError,
    registry.ProcessorImportError,
    SchemaError,
    EmbeddedPostgresError,
    ChildError,
    CrmImportError,
    psycopg.OperationalError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.TimeoutError,
)


@app.command
def add(
    job_type: str,
    /,
    payload: str = "{}",
    *,
    priority: int = 5,
    max_retries: int | None = None,
    scheduled_for: datetime | None = None,
    unique_key: str | None = None,
    json_: Json = False,
) -> int:
    """Add a job and print its id.

    Args:
        job_type: a job type's name; `jobs types` lists them.
        payload: a JSON object, for example '{"customer_id": "c-1"}'.
        priority: 1 (can wait) to 10 (first).
        max_retries: attempts after the first; left out: the type's own.
        scheduled_for: not before this time, with its zone, for example 2030-01-31T08:00+00:00.
        unique_key: at most one pending or processing job has it.
    """
    try:
        parsed = json.loads(payload)
    except json.JSONDecodeError as error:
        raise CommandError(f"--payload: expected a JSON object, got {payload[:80]!r}: {error}") from None
    wanted = {
        "type": job_type, "payload": parsed, "priority": priority, "max_retries": max_retries,
        "scheduled_for": scheduled_for, "unique_key": unique_key,
    }  # fmt: skip
    added = operations.add_job(wanted, command_actor())
    if json_:
        output.print_json({"id": added.id})
    else:
        print(added.id)
    return 0


@app.command(name="list")
def list_(
    *, status: str | None = None, job_type: Annotated[str | None, Parameter(name="--type")] = None,
    limit: int = 20, json_: Json = False,
) -> int:
    """List the newest jobs.

    Args:
        status: only pending, processing, completed, failed or cancelled ones.
        job_type: only this type.
        limit: how many, at most 1000.
    """
    try:
        jobs = lookup.newest_jobs(status=status, job_type=job_type, limit=limit)
    except ValueError as error:
        raise CommandError(f"--{error}") from None
    if json_:
        output.print_json([job.model_dump() for job in jobs])
        return 0
    output.print_table(
        f"The newest {len(jobs)} jobs",
        ("id", "type", "status", "priority", "retries", "scheduled for", "error"),
        [
            (
                job.id, job.job_type, job.status, job.priority, f"{job.retry_count}/{job.max_retries}",
                job.scheduled_for, (job.error_message or "")[:80],
            )
            for job in jobs
        ],
    )
    return 0


@app.command
def show(job_id: str, /, *, json_: Json = False) -> int:
    """Show one job with its failed attempts."""
    job = lookup.find_job(job_id)
    if job is None:
        raise CommandError(f"no job {job_id!r}; `jobs list` shows the newest")
    failures = lookup.failures_of(job_id)
    if json_:
        output.print_json({**job.model_dump(), "failures": [failure.model_dump() for failure in failures]})
        return 0
    facts = {name.replace("_", " "): value for name, value in job.model_dump().items() if value is not None}
    output.print_facts(facts)
    if failures:
        output.print_table(
            "Failed attempts",
            ("attempt", "at", "error", "message"),
            [(failure.attempt, failure.failed_at, failure.error_class, failure.message) for failure in failures],
        )
    return 0


@app.command
def stats(*, json_: Json = False) -> int:
    """Show the queue in numbers, and the workers."""
    found = job_queue.get_stats()
    workers = lookup.live_workers()
    if json_:
        output.print_json({**found.as_dict(), "workers": workers})
        return 0
    rate = "" if found.success_rate is None else f"{found.success_rate:.1%}"
    length = f"about {found.queue_length:,}" if found.estimated else f"{found.queue_length:,}"
    output.print_facts(
        {
            "queue length": length, "processing": found.processing, "completed": found.completed,
            "failed": found.failed, "cancelled": found.cancelled, "success rate": rate,
            "concurrency": found.concurrency,
        }
    )
    output.print_table(
        "Workers",
        ("worker", "host", "pid", "state", "last beat"),
        [
            (
                worker["worker_id"], worker["host"], str(worker["pid"]),
                "stopping" if worker["stop_requested"] else "idle" if worker["waiting"] else "working",
                f"{worker['beat_age_seconds']:.0f} s ago",
            )
            for worker in workers
        ],
    )
    return 0


@app.command
def types(*, json_: Json = False) -> int:
    """List the job types with their policies, payload fields, and what operators set."""
    database.engine()
    apply_prefect_settings()
    registry.declare(registry.load())
    declared = lookup.declared_types()
    if json_:
        output.print_json([row.model_dump() for row in declared])
        return 0
    output.print_table(
        "Job types",
        ("type", "payload", "retries", "timeout", "state", "what it does"),
        [
            (
                row.job_type,
                ", ".join(
                    name if name in row.payload_schema.get("required", ()) else f"[{name}]"
                    for name in row.payload_schema.get("properties", {})
                ),
                row.max_retries,
                output.duration(row.timeout_seconds),
                "paused" if row.paused else row.held_reason or "open",
                row.description.partition("\n")[0],
            )
            for row in declared
        ],
    )
    return 0


@app.command
def migrate(*, json_: Json = False) -> int:
    """Create the schema, or bring it up to date."""
    applied = ensure_schema(database.database_url(), upgrade=True)
    if json_:
        output.print_json({"applied": applied})
    else:
        print(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
    return 0


@app.command(name="import-crm")
def import_crm(
    mapping: Path, /, *, folder: Path | None = None, report: Path | None = None, json_: Json = False
) -> int:
    """Load customers and opportunities from CSV files, as a mapping file (TOML) describes them.

    Args:
        mapping: the mapping; deployments/crm_mappings/ has one to start from.
        folder: where the CSV files are; left out: the mapping's own folder.
        report: where rejected rows go, with line and reason; left out: a file in the data folder.
    """
    from deployments.import_command import run_import

    return run_import(mapping, folder=folder, report=report, as_json=json_)


@app.command
def worker(*, types: tuple[str, ...] = ()) -> int:
    """Run jobs until stopped (SIGTERM or Ctrl-C: running jobs get the grace period, then go back to the queue).

    Args:
        types: only these job types; left out: all.
    """
    apply_prefect_settings()
    known = registry.load()
    for name in types:
        if name not in known:
            raise CommandError(f"--types: expected some of {', '.join(sorted(known))}, got {name!r}")
    from deployments.worker_command import run_worker

    return run_worker(types)


@app.command
def drain(*, worker: str | None = None, host: str | None = None, timeout: float = 120.0, json_: Json = False) -> int:
    """Ask workers to finish what they run and exit, and wait until they have. Exit 1 when they have not in time.

    Args:
        worker: only this one; left out: all.
        host: only those on this host.
        timeout: seconds to wait.
    """
    from deployments.worker_command import drain_workers

    stopped, left = drain_workers(worker=worker, host=host, timeout=timeout)
    if json_:
        output.print_json({"stopped": stopped, "still_running": left})
    elif not stopped and not left:
        print("no worker is running")
    else:
        print("\n".join([*(f"{name}: stopped" for name in stopped), *(f"{name}: still running" for name in left)]))
    return 1 if left else 0


@app.command
def password(*, json_: Json = False) -> int:
    """Ask for a password (or read a line of standard input) and print the hash that the dashboard's settings take."""
    if sys.stdin.isatty():
        given = getpass.getpass("Password: ")
        if given != getpass.getpass("Again: "):
            raise CommandError("these were two different ones; nothing was made")
    else:
        given = sys.stdin.readline().rstrip("\n")
    try:
        hashed = passwords.password_hash(given)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if json_:
        output.print_json({"hash": hashed})
    else:
        # In single quotes: a shell would take $argon2id for a variable.
        print(f"DASHBOARD_PASSWORD_HASH='{hashed}'")
    return 0


@app.command
def demo() -> int:
    """Run the main job on a sample CRM: opportunities become jobs, offers and e-mails. Ends by itself.

    Then reminders, review requests, daily figures and a report.
    """
    from deployments.demo import run_demo

    return run_demo()


@app.command
def up() -> int:
    """Start database, Prefect server, deployments, workers and dashboard, and stay until Ctrl-C."""
    from deployments.up import run_up

    return run_up()


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what a user can mend into one line and an exit code."""
    try:
        yield
    except (CommandError, *_PLAIN_ERRORS) as error:
        output.errors.print(f"jobs: {str(error).strip()}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        output.errors.print("jobs: interrupted", style="yellow")
        sys.exit(130)
    finally:
        database.dispose()


def main(arguments: list[str] | None = None) -> None:
    """The console script. Exit codes: 0 done, 1 could not be done, 2 the command line makes no sense."""
    with _explained():
        settings()
        try:
            code = app(arguments, exit_on_error=False, print_error=True)
        except CycloptsError:
            sys.exit(2)
        sys.exit(code or 0)


if __name__ == "__main__":
    main()
