"""Weekly: the report of the week that is over."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field, PositiveFloat

from flows.see_through import DRAIN_SECONDS, see_through
from models import job_queue, metrics
from models.report_period import ReportPeriod, Step


@flow(name="weekly-report", persist_result=False)
def weekly_report(
    weeks_ago: Annotated[int, Field(ge=1, le=520)] = 1,
    group_by: Step = "day",
    drain_seconds: PositiveFloat = DRAIN_SECONDS,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Makes the report of revenue, pipeline and jobs of a whole week, Monday to Sunday in UTC; 1 is the last one.

    Adds a `generate_report` job, unless one for that week is waiting or running already, and works on the queue until
    it is empty or `drain_seconds` have passed. A job that still waits then is left to the standing workers.

    With `dry_run` nothing is queued: `period` and `report` say what would be made.
    """
    period = _week(metrics.database_now().date(), weeks_ago, group_by)
    name = f"week-{period.first}"
    if dry_run:
        get_run_logger().info("would make the report %s of %s", name, period)
        return {"success": True, "dry_run": True, "report": name, "period": str(period)}
    job_id = job_queue.add_job(
        type="generate_report",
        payload={"first": str(period.first), "last": str(period.last), "group_by": group_by, "name": name},
        priority=4,
        unique_key=f"report:{name}",
    )
    return see_through(job_id, drain_seconds=drain_seconds)


def _week(today: date, weeks_ago: int, step: Step) -> ReportPeriod:
    return ReportPeriod.last_week(today - timedelta(weeks=weeks_ago - 1), step)


if __name__ == "__main__":
    print(weekly_report())
