"""Signatures (HMAC-SHA256) on what customers hand back, by JOB_QUEUE_SIGNING_KEY or a key kept in the data folder.

Every signature is for a purpose: a token that unsubscribes opens no review.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from functools import cache
from pathlib import Path

from models.settings import settings
from models.write_once import write_once

#: 128 bits of the MAC: as hard to guess as any key, and a link stays short.
SIGNATURE_BYTES = 16
KEY_FILE = "signing.key"

_KEY = re.compile(rb"[0-9a-f]{64}\s*")


class SigningKeyError(RuntimeError):
    """The key file in the data folder cannot be used; the message says why and what to do."""


def sign(purpose: str, text: str) -> str:
    """The signature of `text` for this purpose (one for another purpose does not fit), URL-safe."""
    message = f"{purpose}\0{text}".encode()
    digest = hmac.new(_key(), message, hashlib.sha256).digest()
    return _encoded(digest[:SIGNATURE_BYTES])


def is_signed(purpose: str, text: str, signature: str) -> bool:
    """Whether the signature is the one that `sign` makes."""
    return hmac.compare_digest(sign(purpose, text).encode(), signature.encode("utf-8", "replace"))


def token(purpose: str, text: str) -> str:
    """The text and its signature in one URL-safe word, the last part of a link; anybody can read the text."""
    return f"{_encoded(text.encode())}.{sign(purpose, text)}"


def text_of(purpose: str, token: str) -> str | None:
    """The text of a token that was made by us for this purpose; None for any other."""
    name, _, signature = token.partition(".")
    try:
        content = base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True)
        text = content.decode()
    except (binascii.Error, ValueError):
        return None
    # One text, one spelling: base64 has spare bits at its end.
    return text if is_signed(purpose, text, signature) and _encoded(content) == name else None


def derived_key(purpose: str, text: str) -> bytes:
    """32 bytes that only we can compute, to be shared with whom the text names."""
    return hmac.new(_key(), f"key {purpose}\0{text}".encode(), hashlib.sha256).digest()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _key() -> bytes:
    configured = settings().signing_key
    if configured is not None:
        return configured.get_secret_value().encode()
    return _kept_key(settings().data_dir / KEY_FILE)


@cache
def _kept_key(path: Path) -> bytes:
    try:
        if not path.exists():
            # Whoever comes second reads the first one's.
            write_once(path, secrets.token_hex(32).encode() + b"\n", durable=True)
        content = path.read_bytes()
    except OSError as error:
        raise SigningKeyError(
            f"the key that signs links cannot be kept in {path}: {error.strerror}; give this user access "
            "to the folder, or set JOB_QUEUE_SIGNING_KEY"
        ) from error
    if not _KEY.fullmatch(content):
        raise SigningKeyError(
            f"expected 64 hexadecimal digits in {path}, got {len(content)} bytes of something else; restore it, or "
            "delete it: the links sent so far then stop working"
        )
    return content.strip()
