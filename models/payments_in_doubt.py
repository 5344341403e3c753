"""Payments in doubt: nobody knows yet whether the money was taken. How many, for how long, and whether anybody asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from models.reading import reading
from models.sql import statement

#: A card's answer takes seconds; what has none after this is a bank's debit, or needs somebody.
LATE_SECONDS = 3600.0
#: They are counted up to here: 20 to 40 ms, most of it for finding their jobs.
COUNTED_UP_TO = 5_000


@dataclass(frozen=True, slots=True)
class Doubt:
    """How many payments, how many of these for over an hour (`LATE_SECONDS`), and the oldest: its age, invoice and job.

    `oldest_job_id` None: that job has been deleted.
    """

    payments: int = 0
    late: int = 0
    oldest_seconds: float = 0.0
    oldest_invoice_id: str = ""
    oldest_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentsInDoubt:
    """`asked`: a job that waits or runs asks Stripe about them. `unasked`: none does; somebody has to retry theirs."""

    asked: Doubt = Doubt()
    unasked: Doubt = Doubt()


def payments_in_doubt(connection: psycopg.Connection[Any] | None = None) -> PaymentsInDoubt:
    """The oldest 5,000 of them, along their partial index; in a snapshot of the caller's or of its own."""
    if connection is None:
        with reading() as connection:
            return payments_in_doubt(connection)
    connection.execute(statement("along_the_indexes"))
    rows = connection.execute(
        statement("payments_in_doubt"), {"late": LATE_SECONDS, "counted": COUNTED_UP_TO}
    ).fetchall()
    found = {asked: Doubt(*figures) for asked, *figures in rows}
    return PaymentsInDoubt(found.get(True, Doubt()), found.get(False, Doubt()))
