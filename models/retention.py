"""How long what is kept: a table of policies, their bounds, and adding the job that carries them out.

It is done by a job, `cleanup_old_data`: so it has its row, progress and history like all work, can be cancelled,
survives the process that asked for it, and by its unique key never runs beside another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from models.adding import AddedJob, add_jobs
from models.jobs import JobStatus

#: How long ended jobs are kept unless somebody asks for another time.
DAYS_KEPT = 30
MOST_DAYS = 3650
#: What is ever deleted of the jobs: never what is pending or processing, however old.
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
#: The minutes of the roll-up and of the backlog's samples are for the last two days' charts; then they become hours.
MINUTES_KEPT = "48 hours"
#: Thirteen months: a year, and the month it is compared with.
_A_YEAR_AND_A_MONTH = 396


@dataclass(frozen=True, slots=True)
class Policy:
    """What is deleted of a table beside the jobs; `at` and `only` are SQL.

    `name` is what the job's payload and result call it, `at` the time that counts (indexed where the table is large),
    `only` which rows may go at all, `least` the fewest days that may be asked for.
    """

    name: str
    table: LiteralString
    at: LiteralString
    days: int
    least: int = 1
    only: LiteralString = "true"


#: What is not here is never deleted: customers, opportunities, offers, promotions, appointments, reviews and payments
#: are the CRM's and the accountants'; analytics_daily has one small row a day and key; job_types, services and
#: message_templates are a handful. An attempt's row in job_failures goes with its job.
POLICIES = (
    # The minutes among them have become hours by then. Totals and the years' charts come from here.
    Policy("job_metrics", "job_metrics", "bucket", _A_YEAR_AND_A_MONTH, 90, "resolution = 60"),
    # Likewise; the longest period of the dashboard and the one before it are 60 days.
    Policy("backlog_samples", "backlog_samples", "bucket", _A_YEAR_AND_A_MONTH, 90, "resolution = 60"),
    Policy("audit_log", "audit_log", "at", _A_YEAR_AND_A_MONTH, 30),
    # What is still left out is seen again by the next sync of everything.
    Policy("crm_sync_rejects", "crm_sync_rejects", "last_seen", 90),
    # One row for each start of a worker. A job that still has a dead worker's name waits for its rescue.
    Policy(
        "workers", "workers", "coalesce(stopped_at, beat_at)", DAYS_KEPT, 1,
        "NOT EXISTS (SELECT FROM background_jobs AS job"
        " WHERE job.status = 'processing' AND job.worker_id = workers.worker_id)",
    ),
    # A message's row is what keeps it from being sent twice. A promotion's stays for as long as the promotion can be
    # sent at all, and while a job that would send it waits; what was begun and perhaps not sent stays for ever. Of the
    # others, the longest rule that asks for an earlier one is the 90 days between two requests for a review.
    Policy(
        "messages", "messages", "sent_at", _A_YEAR_AND_A_MONTH, 120,
        "NOT (kind = 'send_promotion' AND EXISTS (SELECT FROM promotions AS promotion"
        " WHERE promotion.id = messages.subject_id AND promotion.active))"
        " AND NOT EXISTS (SELECT FROM background_jobs AS job WHERE job.unique_key = messages.id"
        " AND job.status IN ('pending', 'processing'))",
    ),
    # Of use to the retries of its job; afterwards it shows what staff was told, for as long as the job itself does.
    Policy(
        "notifications", "notifications", "created_at", DAYS_KEPT, 1,
        "NOT EXISTS (SELECT FROM background_jobs AS job WHERE job.id = notifications.job_id"
        " AND job.status IN ('pending', 'processing'))",
    ),
    # What people retried, and how to undo it; who did it stays in the audit log.
    Policy("bulk_actions", "bulk_actions", "started_at", 90, 7, "state NOT IN ('running', 'undoing')"),
    Policy("retried_jobs", "retried_jobs", "retried_at", DAYS_KEPT, 7),
)  # fmt: skip


def checked_keep(keep: Mapping[str, int]) -> dict[str, int]:
    """Days by policy name, as somebody asked for them.

    Raises:
        ValueError: for a name that no policy has, or days out of its bounds.
    """
    known = {policy.name: policy for policy in POLICIES}
    for name, days in keep.items():
        if name not in known:
            raise ValueError(f"expected some of {', '.join(known)}, got {name!r:.60}")
        if not known[name].least <= days <= MOST_DAYS:
            raise ValueError(f"{name}: expected {known[name].least} to {MOST_DAYS} days, got {days}")
    return dict(keep)


def days_by_status(days: int = DAYS_KEPT, overrides: Mapping[str, int | None] | None = None) -> dict[str, int]:
    """How long ended jobs are kept, by status: `days`, where `overrides` has no other number."""
    asked = overrides or {}
    return {str(status): asked.get(status) or days for status in ENDED}


def queue_cleanup(days: int = DAYS_KEPT) -> AddedJob:
    """Adds a `cleanup_old_data` job of low priority, unless one for as many days is waiting or running already."""
    (job,) = add_jobs(
        [
            {
                "type": "cleanup_old_data",
                "payload": {"days": days},
                "priority": 3,
                "max_retries": 2,
                "unique_key": f"cleanup-old-data:{days}",
            }
        ]
    )
    return job
