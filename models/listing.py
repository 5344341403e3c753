"""Jobs, workers and error groups as frames, for tables: bounded slices of the hot table, each along an index."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models import metrics
from models.error_groups import failed_groups
from models.ids import can_be_stored
from models.paging import MOST_ROWS, CursorError, Page, page
from models.reading import fetch, frame_of, reading
from models.rescue import LEASE_SECONDS
from models.sql import statement

__all__ = [
    "MOST_ROWS", "CursorError", "Page", "active_jobs", "audit", "audit_of", "audit_of_each", "failed_groups", "page",
    "workers",
]  # fmt: skip


def active_jobs(limit: int = 200) -> pd.DataFrame:
    """What runs now, the longest-running first.

    Columns: `id`, `job_type`, `priority`, `worker_id`, `started_at`, `running_seconds`, `progress` (0..1 or NaN),
    `progress_note`, `expected_p50`, `expected_p95` (seconds, by the type's last day or week), `beat_age_seconds` of its
    worker, `heartbeat_lost` (its jobs are about to be put back), `slower_than_p95`, `eta_seconds` (until it ends, by
    its progress or else by the type's median; NaN where neither says anything), `flow_run_id`, `task_run_id`,
    `attempt`.
    """
    frame = fetch(statement("active_jobs"), {"most": _limit(limit), "lease": LEASE_SECONDS})
    expected = metrics.expected_durations(sorted(set(frame["job_type"])))
    unknown = (float("nan"), float("nan"))
    for place, name in enumerate(("expected_p50", "expected_p95")):
        frame[name] = pd.Series([expected.get(each, unknown)[place] for each in frame["job_type"]], dtype=float)
    frame["slower_than_p95"] = frame["running_seconds"] > frame["expected_p95"]
    by_progress = frame["running_seconds"] * (1 / frame["progress"].where(frame["progress"] > 0) - 1)
    by_median = (frame["expected_p50"] - frame["running_seconds"]).where(lambda left: left > 0)
    frame["eta_seconds"] = by_progress.fillna(by_median).astype(float)
    return frame[
        [
            "id", "job_type", "priority", "worker_id", "started_at", "running_seconds", "progress", "progress_note",
            "expected_p50", "expected_p95", "beat_age_seconds", "heartbeat_lost", "slower_than_p95", "eta_seconds",
            "flow_run_id", "task_run_id", "attempt",
        ]
    ]  # fmt: skip


def workers() -> pd.DataFrame:
    """Workers that have not signed off, the oldest first.

    Columns: `worker_id`, `host`, `pid`, `job_types` (list), `state` (working, idle, stopping or silent), `started_at`,
    `beat_at`, `beat_age_seconds`, `heartbeat_lost`, `running` (jobs it holds), `flow_run_id`.
    """
    return fetch(statement("workers"), {"lease": LEASE_SECONDS})


def audit_of(target: str, limit: int = 100) -> pd.DataFrame:
    """What was done to a job, a job type, a bulk action or a deployment, newest first. Columns as those of `audit`."""
    asked = {"target": target if can_be_stored(target) else None, "most": _limit(limit)}
    with reading() as connection:
        # Entries of one time are few, but where they are not the planner would rather read the whole table.
        connection.execute("SET LOCAL enable_seqscan = off")
        return frame_of(connection.execute(statement("audit_of"), asked)).drop(columns="id")


def audit_of_each(targets: Sequence[str], limit: int = 20) -> pd.DataFrame:
    """What was done to any of these, newest first. Columns as those of `audit`."""
    return fetch(
        "SELECT done.at, done.who, done.action, done.target, done.detail FROM unnest(%(targets)s::text[]) AS one (name)"
        " CROSS JOIN LATERAL (SELECT * FROM audit_log WHERE target = one.name ORDER BY id DESC LIMIT %(most)s) AS done"
        " ORDER BY done.id DESC LIMIT %(most)s",
        {"targets": [target for target in targets if can_be_stored(target)], "most": _limit(limit)},
    )


def audit(limit: int = 100) -> pd.DataFrame:
    """The newest entries of the audit log. Columns: `at`, `who`, `action`, `target`, `detail` (a dict)."""
    return fetch("SELECT at, who, action, target, detail FROM audit_log ORDER BY at DESC LIMIT %s", [_limit(limit)])


def _limit(limit: int) -> int:
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: expected 1 to {MOST_ROWS}, got {limit}")
    return limit
