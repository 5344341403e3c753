"""Customer names: when two spellings are the same customer, and the ids and slugs made of a name."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

#: A DNS label has at most 63 characters (RFC 1035, 2.3.4), and slugs are used as one.
SLUG_LENGTH = 63
#: Customer ids are read by people: a shorter slug, and 40 bits that tell equal slugs apart.
_ID_SLUG_LENGTH = 48
_DIGEST_LENGTH = 10


@lru_cache(maxsize=65_536)
def name_key(name: str) -> str:
    """What makes two spellings the same name: case, Unicode form and the amount of white space do not count."""
    # Twice, as folding the case can undo the normal form (Unicode 3.13, D146).
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


@lru_cache(maxsize=65_536)
def slug(text: str, length: int = SLUG_LENGTH) -> str:
    """Lower-case ASCII letters and digits of the text, joined by hyphens; a digest where it has none of them."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")
    return words[:length].rstrip("-") or f"n{_digest(text)}"


def customer_id(name: str) -> str:
    """The id of a customer whose file has no ids: the name's slug and a digest of its key.

    The same name always gets the same id, whatever its case and white space; names with equal slugs
    ("A & B", "A-B") get different ones.
    """
    return f"{slug(name_key(name), _ID_SLUG_LENGTH)}-{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name_key(name).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
