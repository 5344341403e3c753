"""What the CRM's tables can take: texts, addresses and amounts, checked before they get there."""

from __future__ import annotations

import re
import unicodedata
from decimal import ROUND_HALF_UP, Decimal

from models.crm_import.problems import shortened

#: Characters. An id is the key of an index, whose entries have at most 2,704 bytes; four bytes a character fit.
ID_LENGTH = 200
#: A name or a title becomes a line of a mail and a cell of the dashboard.
LINE_LENGTH = 300
#: RFC 5321, 4.5.3.1.3, without the angle brackets.
ADDRESS_LENGTH = 254
#: numeric(12, 2)
LARGEST_AMOUNT = Decimal("9999999999.99")
_CENT = Decimal("0.01")
_ADDRESS = re.compile(r"[^\s@,;<>()\"\[\]\\]{1,64}@[^\s@,;<>()\"\[\]\\.]+(\.[^\s@,;<>()\"\[\]\\.]+)+")


def checked_line(text: str, length: int = LINE_LENGTH) -> str:
    """The text on one line: line breaks and runs of white space become one space.

    Raises:
        ValueError: when nothing is left, it is too long, or it has a control character.
    """
    line = " ".join(text.split())
    if not line:
        raise ValueError("expected text, got none")
    if not line.isprintable():
        _refuse_invisible(line)
    if len(line) > length:
        raise ValueError(f"expected at most {length} characters, got {len(line)}")
    return line


def checked_id(text: str) -> str:
    """The text as an id, at most `ID_LENGTH` characters.

    Raises:
        ValueError: as `checked_line`.
    """
    return checked_line(text, ID_LENGTH)


def checked_address(text: str) -> str:
    """The text as an e-mail address: one, without a display name.

    Raises:
        ValueError: when it is none.
    """
    line = checked_line(text, ADDRESS_LENGTH)
    if not _ADDRESS.fullmatch(line):
        raise ValueError(f"expected an e-mail address such as info@firm.example, got {shortened(line)}")
    return line


def checked_money(number: Decimal, *, rounded: bool) -> Decimal:
    """The number as an amount with two decimals.

    Raises:
        ValueError: when it is negative or too large, or has more decimals and is not to be rounded.
    """
    if not 0 <= number <= LARGEST_AMOUNT:
        raise ValueError(f"expected an amount from 0 to {LARGEST_AMOUNT:,}, got {shortened(str(number))}")
    cents = number.quantize(_CENT, ROUND_HALF_UP)
    if cents != number and not rounded:
        raise ValueError(f"expected at most two decimals (or round = true), got {shortened(str(number))}")
    return cents


def _refuse_invisible(line: str) -> None:
    for character in line:
        # Cc: control characters, NUL among them, which PostgreSQL cannot store; Cs: halves of a UTF-16 pair.
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"expected text, got the control character U+{ord(character):04X}")
