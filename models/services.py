"""What is known of the services that jobs reach: their circuit breakers, the holds that follow, and their turns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import database
from models.sql import statement

#: Claims of other types go on meanwhile; a longer pause than a minute would outlast most outages.
LONGEST_HOLD_SECONDS = 60.0
REASON_LIMIT = 500


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as the workers found it last.

    `breaker`: closed, open, or half-open when the hold has run out and nobody has tried it since.
    """

    service: str
    breaker: str
    changed_at: datetime
    open_until: datetime | None
    reason: str | None


def hold(service: str, *, seconds: float, reason: str) -> list[str]:
    """Writes down that the service's breaker is open, and holds the job types that need it for that long.

    Nothing of them is claimed meanwhile, by any worker; the dashboard shows why.

    Returns:
        The names of the types.
    """
    with database.transaction() as connection:
        rows = connection.execute(
            statement("hold_types"), {"service": service, "seconds": seconds, "reason": reason[:REASON_LIMIT]}
        ).fetchall()
    return [row[0] for row in rows]


def release(service: str) -> None:
    """Writes down that the service answers again, and ends the hold on the types that need it."""
    with database.transaction() as connection:
        connection.execute(statement("release_types"), {"service": service})


def take_turn(service: str, per_second: float, *, patience: float) -> float:
    """Takes the next turn of a service that may be called `per_second` times, over all workers.

    Returns:
        Seconds until the turn, 0 or more; when that is more than `patience`, no turn was taken.
    """
    with database.transaction() as connection:
        row = None
        while row is None:
            row = connection.execute(
                statement("take_turn"), {"service": service, "gap": 1 / per_second, "patience": patience}
            ).fetchone()
            if row is None:  # the first call ever
                connection.execute(
                    "INSERT INTO services (service) VALUES (%s) ON CONFLICT (service) DO NOTHING", [service]
                )
    return float(row[0])


def service_states() -> list[ServiceState]:
    """All services that some worker has had trouble with, by name."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT service, CASE WHEN open_until <= now() THEN 'half-open' ELSE breaker END, changed_at, open_until,"
            " reason FROM services ORDER BY service"
        ).fetchall()
    return [ServiceState(*row) for row in rows]
