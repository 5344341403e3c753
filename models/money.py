"""Amounts of money as Stripe counts them: whole numbers of a currency's minor unit, converted exactly.

The rules are those of https://docs.stripe.com/currencies: which currencies have no decimals, which have three (and must
end in 0), and which have none but are sent with two all the same.
"""

from __future__ import annotations

import re
from decimal import Decimal

#: "Zero-decimal currencies" of that page, without UGX, which its special cases overrule.
_NO_DECIMALS = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
#: "Three-decimal currencies": the last digit must be 0.
_THREE_DECIMALS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
#: "Special cases": without decimals, but 5 are sent as 500.
_SENT_AS_TWO_DECIMALS = frozenset(["isk", "ugx"])
#: Stripe takes at most eight digits in most currencies.
MOST_MINOR_UNITS = 99_999_999
#: Decimal text without sign, exponent, leading zeros or thousands separators: nothing that could be read two ways.
AMOUNT_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?$"
CURRENCY_PATTERN = r"^[A-Za-z]{3}$"
_AMOUNT = re.compile(AMOUNT_PATTERN)
_CURRENCY = re.compile(CURRENCY_PATTERN)


def minor_units(amount: str, currency: str) -> int:
    """The whole number that Stripe is sent: "12.50" usd is 1250, "500" jpy is 500, "5.12" kwd is 5120, "5" isk is 500.

    Args:
        amount: decimal text in the currency's major unit.
        currency: ISO 4217 code, in any case.

    Raises:
        ValueError: when it is no such text, not more than 0, too much, or finer than the currency can be charged in.
    """
    code = currency.lower()
    if not _CURRENCY.fullmatch(currency):
        raise ValueError("currency: expected three letters such as usd (ISO 4217), got something else")
    if not _AMOUNT.fullmatch(amount):
        raise ValueError('amount: expected decimal text such as "12.50", at most nine digits and three decimals')
    units = Decimal(amount).scaleb(_exponent(code))
    step = 10 if code in _THREE_DECIMALS else 100 if code in _SENT_AS_TWO_DECIMALS else 1
    if units % step:
        raise ValueError(f"amount: expected at most {decimals(code)} decimals in {code}, got {amount}")
    if not 0 < units <= MOST_MINOR_UNITS:
        most = Decimal(MOST_MINOR_UNITS).scaleb(-_exponent(code))
        raise ValueError(f"amount: expected more than 0 and at most {most} {code}, got {amount}")
    return int(units)


def decimals(currency: str) -> int:
    """How many decimals an amount in this currency may have, to be charged: 2 in usd and kwd, 0 in jpy and isk."""
    code = currency.lower()
    return 0 if code in _NO_DECIMALS | _SENT_AS_TWO_DECIMALS else 2


def _exponent(code: str) -> int:
    return 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2
