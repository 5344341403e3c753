"""Job type `generate_report`: a period's revenue, pipeline and jobs, as a page, CSV files and a workbook."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from models import metrics
from models.report_period import ReportPeriod, Step
from models.report_table import tables
from models.reports import Report, crm_frames, job_frames
from models.spreadsheet import csv_bytes
from tasks import Payload, current_job, processor, report_progress, stage
from tasks.services import report_files
from tasks.services.mail import company_name
from tasks.services.report_figures import figures
from tasks.services.report_page import page
from tasks.services.report_workbook import workbook

#: A large CRM is read in seconds, and written in one; a disk may be slow.
TIMEOUT_SECONDS = 600.0

PAGE, WORKBOOK = "report.html", "report.xlsx"


class ReportPayload(Payload):
    first: date | None = Field(None, description="First day, UTC; with `last` left out, the last whole week.")
    last: date | None = Field(None, description="Last day, UTC.")
    group_by: Step = Field("day", description="The steps of the tables over time.")
    name: Annotated[str, Field(pattern=f"^{report_files.NAME.pattern}$")] | None = Field(
        None, description="The report's folder: small letters, digits, - and _; left out, it says the period."
    )
    keep: int | None = Field(None, ge=1, le=10_000, description="Reports that stay, instead of REPORTS_KEPT.")
    keep_days: int | None = Field(None, ge=1, le=3650, description="Days they stay, instead of REPORT_DAYS_KEPT.")

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if (self.first is None) != (self.last is None):
            raise ValueError("expected both first and last, or neither")
        if self.first is not None and self.last is not None:
            ReportPeriod(self.first, self.last, self.group_by)
        return self

    def period(self, today: date) -> ReportPeriod:
        """The days the report is about."""
        if self.first is None or self.last is None:
            return ReportPeriod.last_week(today, self.group_by)
        return ReportPeriod(self.first, self.last, self.group_by)


# A `def`: rendering is work for the processor, and would hold up every other job on the event loop.
@processor(retries=2, timeout_seconds=TIMEOUT_SECONDS)
def generate_report(payload: ReportPayload) -> dict[str, Any]:
    """Makes a report of a period: `report.html`, a CSV file for each table, and `report.xlsx`, in a folder of its own.

    The folder is there when it is complete, never before. Run twice, the job makes one report; another job for the same
    name replaces it. Reports that are too many or too old are removed.
    """
    now = metrics.database_now()
    period = payload.period(now.date())
    name = payload.name or f"report-{period.first}-{period.last}-{period.step}"
    job = current_job()
    job_id = None if job is None else job.id
    done = report_files.manifest_of(report_files.report_root() / name)
    if job_id is None or done is None or done.get("job_id") != job_id:
        report = _read(period)
        facts = {"job_id": job_id, "period": str(period), "made_at": report.made_at.isoformat()}
        with report_files.replacing(name, facts) as building:
            _write(report, building)
    removed = report_files.prune(now, keep=payload.keep, days=payload.keep_days, but=name)
    return {
        "report": name,
        "folder": str(report_files.report_root() / name),
        "period": str(period),
        "files": sorted((report_files.manifest_of(report_files.report_root() / name) or {}).get("files", {})),
        "removed": removed,
    }


def _read(period: ReportPeriod) -> Report:
    with stage("fetch"):
        report_progress(0.0, "reading revenue and pipeline")
        sales, frames = crm_frames(period)
        report_progress(0.3, "reading job performance")
        jobs, job_tables, over_time = job_frames(period)
    return Report(period, metrics.database_now(), [*sales, *jobs], frames | job_tables, over_time)


def _write(report: Report, building: report_files.Building) -> None:
    shown = tables(report.frames)
    with stage("work"):
        for number, table in enumerate(shown):
            report_progress(0.4 + 0.2 * number / len(shown), f"writing {table.name}.csv")
            building.add(f"{table.name}.csv", csv_bytes(table.titled(), total=table.totals()))
        report_progress(0.6, f"writing {WORKBOOK}")
        building.add(WORKBOOK, workbook(report, shown))
        report_progress(0.8, f"writing {PAGE}")
        building.add(PAGE, page(report, shown, figures(report), company_name()))
