"""The priority of a job: the guide's table, added up and clamped."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import calculate_priority

URGENCY = {"critical": 5, "high": 3, "medium": 0, "low": -2, None: 0}
TIER = {"vip": 3, "premium": 2, "standard": 0, None: 0}
VALUE = {
    None: 0, 0: 0, 999.99: 0, 1_000: 0, 1_000.01: 1, 5_000: 1, 5_000.01: 2, 10_000: 2, 10_000.01: 3, 10**400: 3
}  # fmt: skip

urgencies = st.sampled_from(list(URGENCY))
tiers = st.sampled_from(list(TIER))
numbers = st.integers(0) | st.floats(0, allow_infinity=False) | st.decimals(0, allow_nan=False, allow_infinity=False)
amounts = st.none() | numbers


@pytest.mark.parametrize(("urgency", "tier", "value"), list(product(URGENCY, TIER, VALUE)))
def test_every_row_of_the_guides_table(urgency: str | None, tier: str | None, value: float | None) -> None:
    points = 5 + URGENCY[urgency] + TIER[tier] + VALUE[value]

    assert calculate_priority(urgency=urgency, customer_tier=tier, value=value) == min(10, max(1, points))


def test_the_guides_example_is_10() -> None:
    assert calculate_priority(urgency="high", customer_tier="vip", value=15_000) == 10


def test_what_is_not_known_is_neutral() -> None:
    assert calculate_priority() == 5
    assert calculate_priority(None, None, None) == 5


@given(urgencies, tiers, amounts)
def test_the_priority_is_always_a_whole_number_from_1_to_10(
    urgency: str | None, tier: str | None, value: float | Decimal | None
) -> None:
    priority = calculate_priority(urgency, tier, value)

    assert type(priority) is int
    assert 1 <= priority <= 10


@given(urgencies, tiers, st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_at_stake_is_never_less_urgent(urgency: str | None, tier: str | None, one: float, other: float) -> None:
    less, more = sorted((one, other))

    assert calculate_priority(urgency, tier, less) <= calculate_priority(urgency, tier, more)


@given(urgencies, amounts)
def test_a_better_tier_is_never_less_urgent(urgency: str | None, value: float | Decimal | None) -> None:
    standard, premium, vip = (calculate_priority(urgency, tier, value) for tier in ("standard", "premium", "vip"))

    assert standard <= premium <= vip


@given(tiers, amounts)
def test_higher_urgency_is_never_less_urgent(tier: str | None, value: float | Decimal | None) -> None:
    words = ("low", "medium", "high", "critical")
    priorities = [calculate_priority(word, tier, value) for word in words]

    assert priorities == sorted(priorities)


@given(numbers)
def test_a_decimal_counts_as_the_number_it_is(value: float | Decimal) -> None:
    assert calculate_priority(value=Decimal(value)) == calculate_priority(value=value)


@pytest.mark.parametrize("word", ["", "urgent", "HIGH", " high", "vip ", 3, True, b"high", ["high"]])
@pytest.mark.parametrize("factor", ["urgency", "customer_tier"])
def test_an_unknown_word_is_refused_with_the_known_ones(factor: str, word: Any) -> None:
    with pytest.raises(ValueError, match=rf"{factor}: expected one of .*(medium|standard).* got "):
        calculate_priority(**{factor: word})


@pytest.mark.parametrize(
    "value",
    [-0.01, -1, -(10**400), *map(float, ("nan", "inf", "-inf")), *map(Decimal, ("NaN", "sNaN", "Infinity", "-1"))],
)
def test_a_value_that_is_negative_or_not_finite_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="value: expected a finite number, zero or more, got "):
        calculate_priority(value=value)


@pytest.mark.parametrize("value", [True, False, "1000", b"1", [], 1j])
def test_a_value_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="value: expected a number or None, got "):
        calculate_priority(value=value)
