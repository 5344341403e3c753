"""What makes a PostgreSQL queue slow, before it does."""

from dashboard import data
from dashboard.components import shell, store

shell.begin("Health of the store", "What makes a PostgreSQL queue slow, seen before it does.")


def now() -> None:
    """PostgreSQL's own statistics, and the circuit breakers."""
    shell.as_of()
    shell.panel(None, store.health, data.health)
    shell.panel("Services that jobs reach", store.breakers, data.held_services)


shell.live(now)
