"""Hosts inside the company that jobs may reach all the same, as JOB_QUEUE_INTERNAL_HOSTS and JOB_QUEUE_WEBHOOK_HOSTS
list them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

_LISTED = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?))(?::(?P<port>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class InternalHost:
    """A host as URLs name it, in small letters and without brackets; `port` None: every port."""

    name: str
    port: int | None

    def is_at(self, host: str, port: int) -> bool:
        """Whether this is the host that a URL names."""
        return host == self.name and self.port in (None, port)


def internal_host(text: str) -> InternalHost:
    """The host of an entry such as `crm.intranet`, `10.1.2.3:8080` or `[fd00::1]:8080`.

    Raises:
        ValueError: when it is none.
    """
    found = _LISTED.fullmatch(text.strip().lower())
    port = found["port"] if found else None
    if not found or (port is not None and not 0 < int(port) < 65_536):
        raise ValueError(f"expected host or host:port (an IPv6 address in brackets), separated by commas, got {text!r}")
    name = str(IPv6Address(found["ipv6"])) if found["ipv6"] else found["name"]
    return InternalHost(name, int(port) if port else None)
