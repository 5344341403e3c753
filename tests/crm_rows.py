"""Rows of the CRM for tests, written and read by plain SQL."""

from __future__ import annotations

from typing import Any

import psycopg

from models import database


def rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.database_url()) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def execute(query: str, *parameters: Any) -> None:
    with psycopg.connect(database.database_url()) as connection:
        connection.execute(query.encode(), parameters)


def add_customer(
    customer_id: str = "c1", *, name: str = "Anna Smith", email: str | None = "anna@example.com", tier: str = "standard"
) -> str:
    execute("INSERT INTO customers (id, name, email, tier) VALUES (%s, %s, %s, %s)", customer_id, name, email, tier)
    return customer_id


def add_promotion(
    promotion_id: str = "p1",
    *,
    subject: str = "Clean carpets for spring",
    body: str = "We clean your carpets.\n\nBook now.",
    discount: str = "10",
    tier: str | None = None,
    minimum: str = "0",
    active: bool = True,
) -> str:
    execute(
        "INSERT INTO promotions (id, name, subject, body, discount_percent, tier, minimum_value, active)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        promotion_id, promotion_id, subject, body, discount, tier, minimum, active,
    )  # fmt: skip
    return promotion_id


def add_opportunity(
    opportunity_id: str = "o1", *, customer: str | None = "c1", status: str = "new", value: str | None = "1234.50"
) -> str:
    execute(
        "INSERT INTO opportunities (id, customer_id, title, status, estimated_value)"
        " VALUES (%s, %s, 'Carpets', %s, %s)",
        opportunity_id, customer, status, value,
    )  # fmt: skip
    return opportunity_id


def add_appointment(
    appointment_id: str = "a1",
    *,
    customer: str = "c1",
    service: str = "Carpets",
    starts_in: str = "20 hours",
    status: str = "scheduled",
    completed: str = "2 days",
) -> str:
    """An appointment that starts after `starts_in`; a completed one ended `completed` ago."""
    execute(
        "INSERT INTO appointments (id, customer_id, service, starts_at, status, completed_at)"
        " VALUES (%s, %s, %s, now() + %s::interval, %s, CASE WHEN %s = 'completed' THEN now() - %s::interval END)",
        appointment_id, customer, service, starts_in, status, status, completed,
    )  # fmt: skip
    return appointment_id
