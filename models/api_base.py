"""Where a service's HTTP API is: its base URL, encrypted unless it is on this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def api_base(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ValueError: saying what was expected; never shows any part of the URL, which may hold a password.
    """
    expected = "expected https://host, or http:// to this machine's own loopback, with a port if need be"
    url = url.strip().rstrip("/")
    if not url.isascii() or any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"{expected}, got a space, control or non-ASCII character in it")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{expected}, got a host or port that cannot be read") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"{expected}, got something else")
    if parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"{expected}, got a user, a question mark or a # in it")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"{expected}, got http:// to another machine: keys would travel in the clear")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
