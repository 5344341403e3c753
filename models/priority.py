"""How urgent a job is: the guide's table, added up and clamped to 1..10 (10 runs first)."""

from __future__ import annotations

import math
from decimal import Decimal

BASE_PRIORITY = 5
LOWEST_PRIORITY = 1
HIGHEST_PRIORITY = 10

URGENCY_POINTS = {"critical": 5, "high": 3, "medium": 0, "low": -2}
TIER_POINTS = {"vip": 3, "premium": 2, "standard": 0}
#: (more than this value, points), highest first.
VALUE_POINTS = ((10_000, 3), (5_000, 2), (1_000, 1))


def calculate_priority(
    urgency: str | None = None,
    customer_tier: str | None = None,
    value: float | Decimal | None = None,
) -> int:
    """The priority of a job, 1 (can wait) to 10 (first), from what is known of it.

    Args:
        urgency: `critical`, `high`, `medium` or `low`.
        customer_tier: `vip`, `premium` or `standard`.
        value: what is at stake, in the CRM's currency.

    A factor that is missing (None) counts as neutral.

    Raises:
        ValueError: for an unknown word, or a value that is negative or not finite.
        TypeError: for a value that is not a number.
    """
    points = BASE_PRIORITY
    points += _points("urgency", urgency, URGENCY_POINTS)
    points += _points("customer_tier", customer_tier, TIER_POINTS)
    points += _value_points(value)
    return min(HIGHEST_PRIORITY, max(LOWEST_PRIORITY, points))


def _points(factor: str, word: str | None, table: dict[str, int]) -> int:
    if word is None:
        return 0
    if not isinstance(word, str) or word not in table:
        raise ValueError(f"{factor}: expected one of {', '.join(table)} or None, got {word!r}")
    return table[word]


def _value_points(value: float | Decimal | None) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"value: expected a number or None, got {type(value).__name__}")
    # Not math.isfinite alone: it makes a float of the number, which 10**400 does not fit.
    finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)
    if not finite or value < 0:
        raise ValueError(f"value: expected a finite number, zero or more, got {value}")
    return next((points for more_than, points in VALUE_POINTS if value > more_than), 0)
