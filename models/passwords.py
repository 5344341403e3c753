"""Passwords are kept as argon2id hashes only, which cost whoever has them 64 MiB and 50 ms a guess."""

from __future__ import annotations

import argon2

#: Shorter ones are guessed even so.
SHORTEST = 12
#: More is not a password but a way to keep us busy.
LONGEST = 1024

#: RFC 9106's parameters for little memory.
_HASHER = argon2.PasswordHasher()


def password_hash(password: str) -> str:
    """The hash that settings hold.

    Raises:
        ValueError: for a password that is too short, too long or all blank.
    """
    if not SHORTEST <= len(password) <= LONGEST or not password.strip():
        raise ValueError(f"expected a password of {SHORTEST} to {LONGEST} characters, got {len(password)}")
    return _HASHER.hash(password)


def fits(password: str, hashed: str) -> bool:
    """Whether the hash is this password's; takes as long for a wrong one."""
    if len(password) > LONGEST:
        return False
    try:
        return _HASHER.verify(hashed, password)
    except argon2.exceptions.VerificationError:
        return False


def check_hash(hashed: str) -> str:
    """The hash as given.

    Raises:
        ValueError: when it is none of argon2id's; what came is not shown, it may be a password.
    """
    try:
        kind = argon2.extract_parameters(hashed).type
    except argon2.exceptions.InvalidHashError:
        kind = None
    if kind is not argon2.low_level.Type.ID:
        raise ValueError("expected what `jobs password` prints ($argon2id$...), in single quotes in a shell")
    return hashed
