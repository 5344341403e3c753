"""Job type `update_analytics`: the daily figures by customers' tier, job type and opportunities' stage."""

from __future__ import annotations

from pydantic import Field

from models import analytics
from tasks import Payload, processor, report_progress

#: Ten years of a large CRM take minutes, once.
TIMEOUT_SECONDS = 1800.0


class AnalyticsPayload(Payload):
    days: int = Field(
        analytics.DAYS, ge=1, le=analytics.MOST_DAYS, description="Computed again, besides what is missing or changed."
    )


# A `def`: it waits for the database, one month after the other.
@processor(retries=3, timeout_seconds=TIMEOUT_SECONDS)
def update_analytics(payload: AnalyticsPayload) -> dict[str, int]:
    """Computes the daily figures of the last `days` days, and of any day since the first data that lacks them.

    Per tier new customers, offers and what was won; per job type what completed, failed and was retried, and the
    seconds it ran; per stage the opportunities in it and moved to it, with their values. Run again it changes nothing.
    """
    days = rows = 0
    for computed in analytics.update_analytics(payload.days):
        days += computed.days
        rows += computed.rows
        report_progress(computed.share, f"{days:,} days, up to {computed.last}")
    return {"days": days, "rows_changed": rows}
