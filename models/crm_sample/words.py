"""Words of the sample CRM: names, services with their usual prices, promotions."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Service(NamedTuple):
    """What is sold: a title with places for a count or an area, its usual price, and how often it is asked for."""

    title: str
    price: int
    weight: int


FIRST_NAMES = (
    "Abigail", "Adaeze", "Aiden", "Amara", "Andre", "Anita", "Bruno", "Callum", "Carmen", "Chloe", "Dana", "Diego",
    "Elif", "Emma", "Farid", "Fiona", "Grace", "Hana", "Henrik", "Ines", "Isaac", "Jamal", "Jolene", "Karim", "Kenji",
    "Leila", "Lucas", "Maeve", "Malik", "Marta", "Mei", "Nadia", "Noah", "Olga", "Omar", "Paula", "Priya", "Quentin",
    "Rosa", "Samir", "Sofia", "Tessa", "Thomas", "Uma", "Victor", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Alvarez", "Baker", "Banerjee", "Becker", "Bianchi", "Castillo", "Chen", "Costa", "Delgado", "Dubois",
    "Eriksen", "Farrell", "Fischer", "Garcia", "Greene", "Haddad", "Hughes", "Ito", "Jansen", "Kaya", "Kowalski",
    "Lindgren", "Lopez", "Marsh", "Mbeki", "Mendes", "Moreau", "Nakamura", "Novak", "Okafor", "Olsen", "Patel",
    "Quinn", "Reyes", "Rossi", "Sato", "Schmidt", "Silva", "Tanaka", "Torres", "Underwood", "Vargas", "Weber",
    "Whitfield", "Yilmaz", "Zhang", "Zimmerman",
)  # fmt: skip
COMPANY_NAMES = (
    "Alder Street", "Bayview", "Birchwood", "Bluebell", "Cedar Hill", "Clearwater", "Copper Lane", "Eastgate",
    "Fairmont", "Foxglove", "Golden Oak", "Granite", "Harbor Point", "Hillcrest", "Ivy Court", "Juniper", "Kingsway",
    "Lakeside", "Linden", "Magnolia", "Maple Row", "Meadowbrook", "Northfield", "Old Mill", "Orchard", "Parkview",
    "Pinecrest", "Quarry", "Redwood", "Riverside", "Rosewood", "Saltmarsh", "Silver Birch", "Stonebridge", "Summit",
    "Sycamore", "Thistle", "Union Square", "Valley", "Westbrook",
)  # fmt: skip
COMPANY_KINDS = (
    "Hotel", "Dental Practice", "Offices", "Apartments", "Law Partners", "Senior Living", "Preschool", "Theatre",
    "Restaurant", "Property Group", "Medical Center", "Fitness Club", "Library", "Funeral Home", "Coworking",
)  # fmt: skip
SERVICES_FOR_HOMES = (
    Service("Carpet cleaning, {rooms} rooms", 240, 24),
    Service("Carpet cleaning, stairs and landing", 150, 10),
    Service("Upholstery cleaning, sofa and {chairs} chairs", 210, 18),
    Service("Leather sofa cleaning and care", 290, 7),
    Service("Mattress cleaning, {chairs} beds", 160, 8),
    Service("Oriental rug hand wash", 420, 8),
    Service("Pet stain and odor treatment", 190, 12),
    Service("Tile and grout cleaning, {area} m²", 480, 8),
    Service("Whole-house deep clean, {rooms} rooms", 980, 7),
    Service("Water damage drying and carpet rescue", 2600, 3),
    Service("Move-out carpet and upholstery package", 620, 6),
)
SERVICES_FOR_COMPANIES = (
    Service("Office carpet cleaning, {area}0 m²", 1400, 22),
    Service("Yearly carpet care, {area}0 m²", 7200, 14),
    Service("Conference chairs, {area} pieces", 950, 12),
    Service("Lobby and stairwell carpets, quarterly", 3600, 10),
    Service("Guest room carpets, {area} rooms", 9500, 6),
    Service("Restaurant booth upholstery", 1250, 8),
    Service("Theatre seats, {area}0 seats", 8800, 3),
    Service("Stain protection after new carpet, {area}0 m²", 2300, 8),
    Service("After-hours spot cleaning, monthly", 1900, 9),
    Service("Flood restoration, ground floor", 14500, 3),
)

#: A row of the table each: id, name, subject, body, percent, tier (None: all), least value.
PROMOTIONS: tuple[tuple[str, str, str, str, Decimal, str | None, Decimal], ...] = (
    (
        "welcome-clean",
        "Welcome clean",
        "Your first clean with us: 5 % off",
        "Book any service this month and we take 5 % off the quote. We move the light furniture, treat the spots first "
        "and leave the carpet dry enough to walk on the same evening.",
        Decimal("5.00"),
        None,
        Decimal("0.00"),
    ),
    (
        "spring-refresh",
        "Spring refresh",
        "10 % off your spring refresh",
        "Winter leaves salt and grit deep in the pile. Have your carpets and sofas refreshed together and save 10 % on "
        "the whole visit.",
        Decimal("10.00"),
        "standard",
        Decimal("250.00"),
    ),
    (
        "whole-home",
        "Whole home",
        "Every room at once, 12.5 % less",
        "One visit, one quiet day, every carpet done: whole-home bookings cost 12.5 % less than room by room.",
        Decimal("12.50"),
        "standard",
        Decimal("800.00"),
    ),
    (
        "premium-protect",
        "Premium protect",
        "15 % off, with stain protection included",
        "As a premium customer you get 15 % off your next clean, and we seal the fibres against spills at no extra "
        "charge.",
        Decimal("15.00"),
        "premium",
        Decimal("500.00"),
    ),
    (
        "contract-saver",
        "Contract saver",
        "A year of clean carpets for 18 % less",
        "Sign a yearly plan now and every scheduled visit costs 18 % less. You choose the dates, we send the same crew "
        "each time.",
        Decimal("18.00"),
        "premium",
        Decimal("3000.00"),
    ),
    (
        "vip-priority",
        "VIP priority",
        "Your crew is reserved, with 20 % off",
        "Your account manager has set a crew aside for you. Choose any date in the next six weeks, early mornings and "
        "weekends included, and take 20 % off.",
        Decimal("20.00"),
        "vip",
        Decimal("1000.00"),
    ),
)
