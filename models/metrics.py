"""The roll-up as frames, for charts: bounded in time, read from `job_metrics`, never from the hot table."""

from __future__ import annotations

import pandas as pd

from models import database
from models.histogram import quantile

#: A chart of minutes; longer periods will want hours.
MOST_HOURS = 48


def by_minute(hours: float = 3.0) -> pd.DataFrame:
    """What ended in each minute of the last `hours`, over all types, priorities and workers; oldest first.

    Columns: `minute` (UTC), `completed`, `failed`, `retried`, `failure_rate` (failed / (completed + failed); NaN where
    nothing ended), `p50` and `p95` (seconds a job ran; NaN without attempts).

    Raises:
        ValueError: when `hours` is not more than 0 and at most 48.
    """
    if not 0 < hours <= MOST_HOURS:
        raise ValueError(f"hours: expected more than 0 and at most {MOST_HOURS}, got {hours}")
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT bucket, sum(completed)::bigint, sum(failed)::bigint, sum(retried)::bigint, histogram_sum(run)"
            " FROM job_metrics WHERE resolution = 1 AND bucket > now() - %s * interval '1 hour'"
            " GROUP BY bucket ORDER BY bucket",
            [hours],
        ).fetchall()
    frame = pd.DataFrame(rows, columns=["minute", "completed", "failed", "retried", "run"])
    runs = frame.pop("run")
    frame["minute"] = pd.to_datetime(frame["minute"], utc=True)
    ended = frame["completed"] + frame["failed"]
    frame["failure_rate"] = (frame["failed"] / ended.where(ended > 0)).astype(float)
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        frame[name] = pd.Series([quantile(run, share) for run in runs], dtype=float)
    return frame
