"""Amounts: decimal text in a currency's major unit, exactly in minor units or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import MOST_MINOR_UNITS, decimals, minor_units

CURRENCIES = st.sampled_from(["usd", "eur", "GBP", "jpy", "krw", "kwd", "BHD", "isk", "ugx", "huf"])


@given(units=st.integers(1, MOST_MINOR_UNITS), currency=CURRENCIES)
def test_amounts_are_converted_exactly_or_refused(units: int, currency: str) -> None:
    """Written out with the currency's decimals, each sum is the minor units it is made of, and no other."""
    shown = decimals(currency)
    amount = f"{Decimal(units).scaleb(-shown):f}"
    factor = {"kwd": 10, "bhd": 10, "isk": 100, "ugx": 100}.get(currency.lower(), 1)
    if units * factor > MOST_MINOR_UNITS:
        with pytest.raises(ValueError, match="at most"):
            minor_units(amount, currency)
    else:
        assert minor_units(amount, currency) == units * factor
        if shown:
            assert minor_units(amount.rstrip("0").rstrip("."), currency) == units * factor
    with pytest.raises(ValueError, match="at most|decimal text"):
        minor_units(f"{amount}{'' if shown else '.'}001", currency)


@given(amount=st.text(max_size=15) | st.floats().map(str) | st.decimals().map(str), currency=CURRENCIES)
def test_whatever_is_taken_for_an_amount_is_worth_what_it_says(amount: str, currency: str) -> None:
    try:
        units = minor_units(amount, currency)
    except ValueError:
        return
    assert 0 < units <= MOST_MINOR_UNITS
    exponent = {0: 2 if currency.lower() in ("isk", "ugx") else 0, 2: 3 if currency.lower() in ("kwd", "bhd") else 2}
    assert Decimal(units).scaleb(-exponent[decimals(currency)]) == Decimal(amount)
