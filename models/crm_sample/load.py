"""Sample CRM for demonstrations: customers of a carpet and upholstery cleaning company, what they may buy, and visits.

The same seed makes the same rows; only the dates move, as they are counted from the database's now().
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, LiteralString

import psycopg
from sqlmodel import Session

from models.crm_import.names import slug
from models.crm_import.transaction import joined_transaction
from models.crm_sample.appointments import when
from models.crm_sample.words import (
    COMPANY_KINDS,
    COMPANY_NAMES,
    FIRST_NAMES,
    LAST_NAMES,
    PROMOTIONS,
    SERVICES_FOR_COMPANIES,
    SERVICES_FOR_HOMES,
    Service,
)

#: Shares of the tiers in percent.
TIER_SHARES = {"vip": 8, "premium": 22, "standard": 70}
#: Companies among the customers of a tier, in percent: offices and hotels spend more than homes.
_COMPANY_SHARES = {"vip": 85, "premium": 45, "standard": 12}
#: Open statuses and how often each comes, in percent.
_OPEN_SHARES = {"new": 50, "qualified": 32, "proposal": 18}
#: Of so many opportunities one is won and one is lost: 600 have 516 open ones.
_CLOSED_EVERY = 14
#: Of the customers, the next one with an appointment; no divisor of their usual number.
_STEP = 7
#: Domains that are reserved for examples (RFC 2606, 3), so that no mail leaves.
_DOMAINS = ("example.com", "example.org", "example.net")
#: Bounds of a value, and the spread around the service's usual price (of its logarithm).
SMALLEST_VALUE, LARGEST_VALUE = 80, 40_000
_SPREAD = 0.55
_DAY = 86_400
#: Days: how far back an opportunity was made at most, how far ahead it closes, how far it is overdue.
_MADE_WITHIN, _CLOSES_WITHIN, _OVERDUE = 60, 90, 6

_CUSTOMERS = """
    INSERT INTO customers (id, name, email, tier, created_at, updated_at)
    SELECT id, name, email, tier, now() - make_interval(secs => age), now() - make_interval(secs => age)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) AS s (id, name, email, tier, age)
    ON CONFLICT (id) DO NOTHING
"""
_OPPORTUNITIES = """
    INSERT INTO opportunities
        (id, customer_id, title, status, estimated_value, expected_close, created_at, updated_at)
    SELECT id, customer_id, title, status, value,
           (now() AT TIME ZONE 'UTC')::date + closes_in,
           now() - make_interval(secs => age), now() - make_interval(secs => age)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::int[], %s::int[])
        AS s (id, customer_id, title, status, value, closes_in, age)
    ON CONFLICT (id) DO NOTHING
"""
_PROMOTIONS = """
    INSERT INTO promotions (id, name, subject, body, discount_percent, tier, minimum_value)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::text[], %s::numeric[])
    ON CONFLICT (id) DO NOTHING
"""
_APPOINTMENTS = """
    INSERT INTO appointments (id, customer_id, service, starts_at, status, completed_at)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::timestamptz[])
    ON CONFLICT (id) DO NOTHING
"""
#: Only while their appointments are new: staff may have corrected it since.
_ZONES = """
    UPDATE customers SET time_zone = zone
    FROM unnest(%s::text[], %s::text[], %s::text[]) AS s (id, customer_id, zone)
    WHERE customers.id = s.customer_id AND NOT EXISTS (SELECT FROM appointments WHERE appointments.id = s.id)
"""


@dataclass(frozen=True)
class SampleCounts:
    """How many rows were inserted; those that were there before are left as they are."""

    customers: int
    opportunities: int
    promotions: int
    appointments: int


def load_sample(
    on: Session | psycopg.Connection[Any] | None = None,
    *,
    customers: int = 300,
    opportunities: int = 600,
    appointments: int = 48,
    seed: int = 2024,
) -> SampleCounts:
    """Loads the sample; rows that are there already stay as the jobs left them.

    Args:
        on: a session or connection whose transaction it is part of; by default it has its own.
        customers: how many; the first ones are the same for every number.
        opportunities: how many; six of seven are open.
        appointments: how many; every other one is over, the others begin within a day.
        seed: another seed, another sample, though with the same ids: load it into an empty database.

    Raises:
        ValueError: for a negative number, or opportunities or appointments without customers.
    """
    got = f"got customers={customers}, opportunities={opportunities}, appointments={appointments}"
    if min(customers, opportunities, appointments) < 0:
        raise ValueError(f"expected numbers of zero or more, {got}")
    if (opportunities or appointments) and not customers:
        raise ValueError(f"expected at least one customer for them, {got}")
    people = [_Customer(seed, number) for number in range(customers)]
    deals = [_opportunity(seed, number, people) for number in range(opportunities)]
    with joined_transaction(on) as connection:
        return SampleCounts(
            customers=_insert(connection, _CUSTOMERS, [customer.row() for customer in people]),
            opportunities=_insert(connection, _OPPORTUNITIES, deals),
            promotions=_insert(connection, _PROMOTIONS, PROMOTIONS),
            appointments=_insert_appointments(connection, seed, appointments, people),
        )


def _insert_appointments(
    connection: psycopg.Connection[Any], seed: int, appointments: int, people: Sequence[_Customer]
) -> int:
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    visits, zones = [], []
    for number in range(appointments):
        # One each, as long as there are customers enough.
        customer = people[number * _STEP % len(people)]
        random = Random(f"{seed} appointment {number}")
        service = _title(_service(random, customer), random)
        appointment_id = f"sample-appointment-{number + 1:04}"
        starts_at, status, completed_at, zone = when(number, row[0])
        visits.append((appointment_id, customer.id, service, starts_at, status, completed_at))
        if zone is not None:
            zones.append((appointment_id, customer.id, zone))
    _insert(connection, _ZONES, zones)
    return _insert(connection, _APPOINTMENTS, visits)


class _Customer:
    def __init__(self, seed: int, number: int) -> None:
        random = Random(f"{seed} customer {number}")
        self.id = f"sample-customer-{number + 1:04}"
        self.tier = _drawn(random, TIER_SHARES)
        self.is_company = random.randrange(100) < _COMPANY_SHARES[self.tier]
        if self.is_company:
            self.name = f"{random.choice(COMPANY_NAMES)} {random.choice(COMPANY_KINDS)}"
        else:
            self.name = f"{random.choice(FIRST_NAMES)} {random.choice(LAST_NAMES)}"
        # The number keeps the addresses of namesakes apart.
        self.email = f"{slug(self.name).replace('-', '.')}.{number + 1}@{random.choice(_DOMAINS)}"
        # Customers for at least as long as any of their opportunities.
        self.age = random.randrange(_MADE_WITHIN * _DAY, 4 * 365 * _DAY)

    def row(self) -> Sequence[Any]:
        return self.id, self.name, self.email, self.tier, self.age


def _opportunity(seed: int, number: int, people: Sequence[_Customer]) -> Sequence[Any]:
    random = Random(f"{seed} opportunity {number}")
    customer = random.choice(people)
    service = _service(random, customer)
    title = _title(service, random)
    status, age, closes_in = _course(random, number)
    return (
        f"sample-opportunity-{number + 1:05}", customer.id, title, status, _value(random, service), closes_in, age,
    )  # fmt: skip


def _service(random: Random, customer: _Customer) -> Service:
    services = SERVICES_FOR_COMPANIES if customer.is_company else SERVICES_FOR_HOMES
    return random.choices(services, [service.weight for service in services])[0]


def _title(service: Service, random: Random) -> str:
    return service.title.format(
        rooms=random.randint(2, 6), chairs=random.randint(2, 4), area=random.randrange(20, 95, 5)
    )


def _course(random: Random, number: int) -> tuple[str, int, int]:
    """The status, the age in seconds, and the days until it closes."""
    age = random.randrange(_MADE_WITHIN * _DAY)
    closed = {_CLOSED_EVERY // 2 - 1: "won", _CLOSED_EVERY - 1: "lost"}.get(number % _CLOSED_EVERY)
    if closed is not None:
        return closed, age, -random.randint(0, age // _DAY)
    # Most close within weeks, one in thirty is overdue, the last close in three months.
    return _drawn(random, _OPEN_SHARES), age, round(random.triangular(-_OVERDUE, _CLOSES_WITHIN, 5))


def _value(random: Random, service: Service) -> Decimal:
    """A value around the service's price, log-normal, in steps of five; drawn again where it is out of bounds."""
    while True:
        value = 5 * round(service.price * random.lognormvariate(0, _SPREAD) / 5)
        if SMALLEST_VALUE <= value <= LARGEST_VALUE:
            return Decimal(value)


def _drawn(random: Random, shares: dict[str, int]) -> str:
    return random.choices(list(shares), list(shares.values()))[0]


def _insert(connection: psycopg.Connection[Any], statement: LiteralString, rows: Sequence[Sequence[Any]]) -> int:
    if not rows:
        return 0
    columns = [list(column) for column in zip(*rows, strict=True)]
    return connection.execute(statement, columns).rowcount
