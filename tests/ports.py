"""Ports of loopback for servers that start later, or never: nobody else's until then."""

from __future__ import annotations

import os
import socket
from itertools import cycle

#: Below what a system gives to whoever asks for any port (32768 and up on Linux, 49152 elsewhere). One of those was now
#: and then a stranger's when its server listened, some seconds later; Prefect's, minutes later.
_FIRST = 20_000
#: Each of the processes that run tests side by side has so many of its own.
_EACH, _PROCESSES = 1_500, 8


def _own() -> list[int]:
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + process % _PROCESSES * _EACH
    # Begun elsewhere than by another run on this machine.
    begin = os.getpid() % _EACH
    return [first + (begin + number) % _EACH for number in range(_EACH)]


_ports = cycle(_own())


def unused_port() -> int:
    """A port of loopback that nobody listens on, a new one each time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
