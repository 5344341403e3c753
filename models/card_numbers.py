"""Finding card numbers and Stripe's secrets, so that none is stored or logged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: What stands in place of a secret.
MASK = "***"
#: ISO/IEC 7812 numbers have up to 19 digits, the shortest in use 12. Any run of as many digits counts, whatever its
#: check digit: a mistyped number is nobody's business either. So does a longer one, which may hold a number.
CARD_DIGITS_PATTERN = "[0-9]{12}"
_DIGITS = re.compile(r"[0-9]{12,}")
#: As they are printed on cards (4-4-4-4 or 4-6-5) or read out, with spaces, dots or hyphens in between.
_GROUPED = re.compile(r"(?<![0-9])[0-9]{4}(?:[ .-][0-9]{4}){2,3}(?:[ .-][0-9]{1,4})?(?![0-9])|"
                      r"(?<![0-9])[0-9]{4}[ .-][0-9]{6}[ .-][0-9]{4,5}(?![0-9])")  # fmt: skip
#: One UUID in 280 ends in twelve decimal digits.
UUID_PATTERN = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(UUID_PATTERN, re.IGNORECASE)
_SECRET = re.compile(r"\b(?:sk|rk|pk|whsec)_[A-Za-z0-9_*]+|_secret_[A-Za-z0-9]+")
#: Deeper than any payload is; what is deeper is taken for a hiding place.
_DEPTH_LIMIT = 20


def holds_card_number(value: Any, *, depth: int = _DEPTH_LIMIT) -> bool:
    """Whether something that looks like a card number is anywhere in a JSON value, its keys and numbers included."""
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, Mapping | list | tuple):
        if depth == 0:
            return True
        parts = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        return any(holds_card_number(part, depth=depth - 1) for part in parts)
    text = _UUID.sub("", str(value))
    return re.search(CARD_DIGITS_PATTERN, text) is not None or any(
        _checks(found.group()) for found in _GROUPED.finditer(text)
    )


def without_secrets(text: str) -> str:
    """The text with card numbers, API keys and client secrets replaced by `***`."""
    return _SECRET.sub(MASK, _GROUPED.sub(MASK, _DIGITS.sub(MASK, text)))


def _checks(number: str) -> bool:
    """Whether the last digit is the check digit (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in reversed(number) if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
