"""Job ids: UUID version 7 (RFC 9562) as text, so that ids sort by the time they were made."""

from __future__ import annotations

import os
import re
import threading
import time

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_lock = threading.Lock()
_last = 0


def new_job_id() -> str:
    """A new UUIDv7; ids made by one process sort in the order they were made, also within a millisecond.

    The 12 bits behind the millisecond are a fraction of it, raised by one where the clock did not move
    (RFC 9562, section 6.2, method 3); the remaining 62 bits are random.
    """
    global _last
    with _lock:
        nanoseconds = time.time_ns()
        # Milliseconds in the upper bits, the fraction in 1/4096 ms below.
        stamp = max((nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000), _last + 1)
        _last = stamp
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    number = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def can_be_stored(text: str) -> bool:
    """Whether PostgreSQL's text can hold it; asked for a NUL or a lone surrogate, as a URL may have, it only raises."""
    return _UNSTORABLE.search(text) is None
