"""E-mail addresses and the texts beside them in headers: what is taken, and why the rest is refused.

The standard library writes a newline into a header when a name or subject holds an RFC 2047 encoded word with one in it
(Python 3.11.7: `=?utf-8?q?a=0D=0ABcc:...?=` adds a Bcc), and takes lists and groups for an address. So what goes into a
header passes here first, and `tasks.headers` writes it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

#: Longer names and subjects are mistakes; a header line ends at 998 characters anyway (RFC 5322).
TEXT_LIMIT = 300
#: RFC 5321: 64 before the @, 254 in all.
LOCAL_PART_LIMIT = 64
ADDRESS_LIMIT = 254

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NAMED = re.compile(r'(?:(?P<bare>[^<>"@,;:]*)|"(?P<quoted>[^"\\]*)") *<(?P<address>[^<>]*)>')
#: Python has IDNA of 2003, which makes another domain of these (straße.de: strasse.de) than what is registered today.
_DEVIATING = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
#: Control characters, line and paragraph separators, halves of surrogate pairs.
_UNFIT = {"Cc", "Zl", "Zp", "Cs"}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address, and the name beside it (may be empty).

    Raises:
        ValueError: when it is not exactly one bare address, or the name may not stand in a header.
    """

    address: str
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", bare_address(self.address))
        object.__setattr__(self, "name", header_text(self.name, "the name").strip(" "))

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def mailbox(text: str) -> Mailbox:
    """The mailbox written as `name@example.com` or `Name <name@example.com>`.

    Raises:
        ValueError: when it is anything else, more than one address included.
    """
    named = _NAMED.fullmatch(text.strip(" "))
    if named is None:
        return Mailbox(text)
    return Mailbox(named["address"], named["quoted"] if named["bare"] is None else named["bare"])


def bare_address(text: str) -> str:
    """The one bare address that `text` is, its domain in ASCII (IDNA).

    Raises:
        ValueError: when it is not exactly one address: no address, a list, one with a name or a comment beside it.
    """
    found = text.strip(" ")
    local, _, domain = found.rpartition("@")
    if not _DEVIATING.isdisjoint(domain):
        raise ValueError(
            f"expected a domain without one of the letters that two standards read differently, got {text!r:.100}; "
            "write it in its ASCII form (xn--...)"
        )
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            domain = ""
    if (
        _LOCAL_PART.fullmatch(local)
        and len(local) <= LOCAL_PART_LIMIT
        and _DOMAIN.fullmatch(domain)
        and len(local) + 1 + len(domain) <= ADDRESS_LIMIT
    ):
        return f"{local}@{domain}"
    raise ValueError(f"expected exactly one e-mail address such as name@example.com, got {text!r:.100}")


def header_text(text: str, what: str) -> str:
    """The text if it may stand in a header; `what` names it in the message.

    Raises:
        ValueError: when it holds a newline or another control character, or is too long.
    """
    for place, character in enumerate(text):
        if unicodedata.category(character) in _UNFIT:
            raise ValueError(
                f"{what}: expected text without line breaks and control characters, got {character!r} at position "
                f"{place} of {text!r:.100}; remove it"
            )
    if len(text) > TEXT_LIMIT:
        raise ValueError(f"{what}: expected at most {TEXT_LIMIT} characters, got {len(text)}: {text!r:.100}")
    return text
