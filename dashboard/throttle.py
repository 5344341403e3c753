"""How often a password may be tried."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import deque
from collections.abc import Callable

#: Somebody who mistypes needs two or three; a list of common passwords needs thousands.
PER_ADDRESS = 5
#: Whoever has many addresses gets no further than this, and one process hashes no more than one a few seconds.
IN_ALL = 60
WINDOW_SECONDS = 300.0


class Throttle:
    """Failed attempts of the last five minutes, by address and in all.

    An attempt counts from its begin, so that a hundred at once are not a hundred first ones; one that succeeds does
    not count.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all: deque[tuple[float, str]] = deque()

    def begin(self, address: str) -> float:
        """Counts an attempt and returns 0, or returns the seconds until there may be one."""
        network = network_of(address)
        with self._lock:
            now = self._clock()
            while self._all and self._all[0][0] <= now - WINDOW_SECONDS:
                self._all.popleft()
            own = [at for at, of in self._all if of == network]
            if len(own) >= PER_ADDRESS:
                return own[-PER_ADDRESS] + WINDOW_SECONDS - now
            if len(self._all) >= IN_ALL:
                return self._all[-IN_ALL][0] + WINDOW_SECONDS - now
            self._all.append((now, network))
            return 0.0

    def forgive(self, address: str) -> None:
        """The attempt succeeded: what this address failed before is forgotten."""
        network = network_of(address)
        with self._lock:
            self._all = deque(entry for entry in self._all if entry[1] != network)


def network_of(address: str) -> str:
    """The address, or of IPv6 the /64 that one customer of a provider has whole."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
