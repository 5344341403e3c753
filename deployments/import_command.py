"""`jobs import-crm`: the import with a progress bar and its result in words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from deployments import output
from models import database
from models.crm_import import ImportResult, import_crm


def run_import(mapping: Path, *, folder: Path | None, report: Path | None, as_json: bool) -> int:
    """Imports and prints; exit code 0 also when some rows were rejected, which the report lists."""
    database.engine()
    with Progress(
        "[progress.description]{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=output.errors, transient=True,
    ) as bar:
        task = bar.add_task("importing", total=None)
        result = import_crm(
            mapping, folder=folder, report=report,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        output.print_json(asdict(result))
    else:
        _print(result)
    return 0


def _print(result: ImportResult) -> None:
    output.print_table(
        "Imported",
        ("table", "read", "inserted", "updated", "unchanged", "rejected"),
        [
            (name, counts.read, counts.inserted, counts.updated, counts.unchanged, counts.rejected)
            for name, counts in (("customers", result.customers), ("opportunities", result.opportunities))
        ],
    )
    if result.customers_created:
        print(f"{result.customers_created:,} customers were made of names that only opportunities had")
    if result.report is not None:
        print(f"rejected rows, with line and reason: {result.report}")
