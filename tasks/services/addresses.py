"""Which addresses a job may reach over HTTP: public ones, and the hosts of the setting for who has chosen the URL.

URLs come from the company's settings, from customers (webhooks) and from what servers answer (redirects). No customer
can make a worker, which stands inside the company's network, fetch something in there: its databases, its admin pages,
the cloud's metadata service; nor the CRM, where the company's own settings name that one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from models.internal_hosts import internal_host
from models.settings import settings
from tasks.errors import PermanentError

#: Where web servers listen. Others (SMTP, Redis, ...) would take a request for commands of their own.
USUAL_PORTS = frozenset({80, 443, 8080, 8443})
URL_LENGTH = 2_000
_STANDARD_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+")
#: What a resolver takes for a number: 2130706433, 0x7f.1, 0177.0.0.1, 127.1. The last label decides.
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
#: Names that are never public (RFC 6761, 6762, 8375; .internal is ICANN's for private use, metadata.google.internal).
_PRIVATE_NAME = re.compile(r"(.*\.)?(localhost|localdomain|local|internal|intranet|lan|home\.arpa)")

# The tables of the special-purpose registries (IANA), written out: what `ipaddress` calls global differs between
# releases of Python.
_IPV4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "a carrier's own (RFC 6598)",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "Azure's service for its machines",
    "169.254.0.0/16": "link-local, where clouds have their metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "for documentation",
    "192.31.196.0/24": "reserved",
    "192.52.193.0/24": "reserved",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "reserved",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_IPV6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "a translation to IPv4 of the network's own",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
    # Inside 2000::/3.
    "2001::/32": "a Teredo tunnel to an IPv4 address",
    "2001::/23": "reserved",
    "2001:db8::/32": "for documentation",
    "2002::/16": "a 6to4 tunnel to an IPv4 address",
    "2620:4f:8000::/48": "reserved",
    "3fff::/20": "for documentation",
}
_NOT_PUBLIC_IPV4 = [(IPv4Network(network), kind) for network, kind in _IPV4.items()]
_NOT_PUBLIC_IPV6 = [(IPv6Network(network), kind) for network, kind in _IPV6.items()]
#: All that is given out as public so far.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
#: Public IPv4 behind a network that has only IPv6 (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
#: The middle of an ISATAP address (RFC 5214), whose end is an IPv4 address.
_ISATAP = {0x00005EFE, 0x02005EFE}


class ChosenBy(Enum):
    """Who has chosen a URL; the value is the setting with the hosts inside the company that it may name."""

    #: The company's settings, as CRM_SYNC_URL.
    COMPANY = "JOB_QUEUE_INTERNAL_HOSTS"
    #: Rows of the database, payloads, and whatever else others may write.
    CUSTOMER = "JOB_QUEUE_WEBHOOK_HOSTS"

    def may_reach(self, host: str, port: int) -> bool:
        """Whether the setting names this host."""
        entries = settings().internal_hosts if self is ChosenBy.COMPANY else settings().webhook_hosts
        return any(internal_host(entry).is_at(host, port) for entry in entries)


class AddressRefusedError(PermanentError):
    """The URL, or what its host resolves to, is not to be fetched; the message says why, and what would allow it."""


def checked_url(
    url: str | httpx.URL, *, chosen_by: ChosenBy = ChosenBy.CUSTOMER, ports: Collection[int] = USUAL_PORTS
) -> httpx.URL:
    """The URL, when it can be of a public web server, or is of a host that the setting for `chosen_by` names.

    What its host resolves to is not asked here: that is checked when (and each time) it is connected to.

    Raises:
        AddressRefusedError: when it is not.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise AddressRefusedError(f"expected an http or https URL, got something else: {error}") from None
    if len(str(parsed)) > URL_LENGTH:
        raise AddressRefusedError(f"expected a URL of at most {URL_LENGTH:,} characters, got {len(str(parsed)):,}")
    if parsed.scheme not in _STANDARD_PORTS:
        raise AddressRefusedError(f"expected an http or https URL, got the scheme {parsed.scheme!r:.60}")
    if parsed.userinfo:
        raise AddressRefusedError("expected a URL without a user's name and password in it, got one with them")
    host, port = host_of(parsed), port_of(parsed)
    if chosen_by.may_reach(host, port):
        return parsed
    check_name(host, chosen_by)
    if port not in ports:
        expected = ", ".join(map(str, sorted(ports)))
        raise _refused(host, port, f"port {port} is none of {expected}", chosen_by)
    return parsed


def host_of(url: httpx.URL) -> str:
    """The URL's host as it goes over the wire: in small letters, an international name in its ASCII form."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx.URL) -> int:
    """The URL's port, the scheme's own where it names none."""
    return _STANDARD_PORTS[url.scheme] if url.port is None else url.port


def shown(url: httpx.URL) -> str:
    """The URL as messages name it: without its path and question, which may hold keys."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"[:200]


def check_name(host: str, chosen_by: ChosenBy) -> None:
    """Refuses what cannot be the name or address of a public host.

    Raises:
        AddressRefusedError: when it cannot.
    """
    literal = _literal(host)
    if literal is not None:
        check_address(literal, host, chosen_by)
    elif host.endswith("."):
        raise _refused(host, None, "a host is written without a dot at its end", chosen_by)
    elif _NUMBER.fullmatch(host):
        raise _refused(host, None, "an IPv4 address is written as four decimal numbers", chosen_by)
    elif _PRIVATE_NAME.fullmatch(host) or _NAME.fullmatch(host) is None:
        raise _refused(host, None, "it is not the name of a public host", chosen_by)


def check_address(address: str, host: str, chosen_by: ChosenBy, port: int | None = None) -> None:
    """Refuses an address that is not public, `host` being what the URL names.

    Raises:
        AddressRefusedError: when it is not.
    """
    try:
        kind = why_not_public(ip_address(address))
    except ValueError:
        kind = "no IP address"
    if kind is not None:
        raise _refused(host, port, f"{'it' if host == address else f'its address {address:.60}'} is {kind}", chosen_by)


def why_not_public(address: IPv4Address | IPv6Address) -> str | None:
    """What kind of address it is when it is not public; one that hides an IPv4 address is judged by that."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _NOT_PUBLIC_IPV4 if address in network), None)
    if address.scope_id is not None:
        return "of one network interface"
    hidden = address.ipv4_mapped
    if hidden is None and (address in _NAT64 or int(address) >> 32 & 0xFFFFFFFF in _ISATAP):
        hidden = IPv4Address(int(address) & 0xFFFFFFFF)
    if hidden is not None and (kind := why_not_public(hidden)) is not None:
        return f"{hidden}, which is {kind}"
    if address.ipv4_mapped is not None or address in _NAT64:
        return None
    kind = next((kind for network, kind in _NOT_PUBLIC_IPV6 if address in network), None)
    return kind or (None if address in _PUBLIC_IPV6 else "not given out as public")


def _literal(host: str) -> str | None:
    try:
        ip_address(host)
    except ValueError:
        return None
    return host


def _refused(host: str, port: int | None, why: str, chosen_by: ChosenBy) -> AddressRefusedError:
    entry = f"[{host}]" if ":" in host else host
    entry += f":{port}" if port is not None else ""
    return AddressRefusedError(
        f"{host!r:.100} is not fetched: {why}. Only public hosts are; where it is yours, add it to "
        f"{chosen_by.value}, as {entry:.100}"
    )
