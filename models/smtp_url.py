"""SMTP_URL: which mail server, how to log in, and whether the connection is encrypted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

#: Mail servers commonly allow 10 to 50 connections from one client; a worker takes a share of that.
DEFAULT_CONNECTIONS = 5
MOST_CONNECTIONS = 50

_EXPECTED = "expected smtp://user:password@host:port or smtps://..."
#: Every message is silent about what was given: where a password's special characters are not encoded, any part of
#: the URL may hold a piece of it.
_ENCODE = "; encode special characters in user and password, such as @ as %40 and / as %2F"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


class Encryption(StrEnum):
    """How the connection is protected: TLS from the start, STARTTLS demanded, used where offered, or neither."""

    TLS = "tls"
    REQUIRED = "required"
    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server as SMTP_URL names it. Its text is `host:port`, never the password."""

    host: str
    port: int
    encryption: Encryption
    connections: int = DEFAULT_CONNECTIONS
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def smtp_server(url: str) -> SmtpServer:
    """Reads `smtp://user:password@host:port?starttls=...&connections=...` or `smtps://...`.

    `starttls` (smtp only) is `required` (the default with a user: a password never travels in the clear), `auto` (the
    default without one: used where the server offers it) or `never`. `connections`: at most so many from one worker.
    Ports: 465 for smtps, else 587 with a user and 25 without.

    Raises:
        ValueError: saying what was expected; never shows any part of the URL.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in {"smtp", "smtps"}:
        raise ValueError(f"{_EXPECTED}, got another scheme or none")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"{_EXPECTED}, got a space or control character in it")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{_EXPECTED}, got a host or port that cannot be read{_ENCODE}") from None
    if port == 0 or not _is_host(host):
        raise ValueError(f"{_EXPECTED}, got no usable host and port{_ENCODE}")
    if parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(f"{_EXPECTED}, got something behind the host and port{_ENCODE}")
    user = unquote(parts.username) if parts.username else None
    if (user is None) != (not parts.password):
        raise ValueError(f"{_EXPECTED}, got a user or a password without the other")
    options = _options(parts.query)
    if scheme == "smtps":
        if "starttls" in options:
            raise ValueError("smtps:// is encrypted from the start: leave starttls out, or use smtp://")
        encryption = Encryption.TLS
    else:
        encryption = _starttls(options.get("starttls", "required" if user else "auto"))
    return SmtpServer(
        host=host,
        port=port or (465 if scheme == "smtps" else 587 if user else 25),
        encryption=encryption,
        connections=_connections(options.get("connections", str(DEFAULT_CONNECTIONS))),
        user=user,
        password=unquote(parts.password) if parts.password else None,
    )


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return _HOST_NAME.fullmatch(host) is not None and len(host) <= 253
    return True


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        pairs = [("", "")]
    options = dict(pairs)
    if len(options) != len(pairs) or not options.keys() <= {"starttls", "connections"}:
        raise ValueError(f"expected only starttls=... and connections=... behind the question mark, once each{_ENCODE}")
    return options


def _starttls(word: str) -> Encryption:
    if word not in {"required", "auto", "never"}:
        raise ValueError("starttls: expected required, auto or never, got another word")
    return Encryption(word)


def _connections(number: str) -> int:
    if not number.isascii() or not number.isdigit() or not 1 <= int(number[:9]) <= MOST_CONNECTIONS:
        raise ValueError(f"connections: expected a whole number from 1 to {MOST_CONNECTIONS}, got another value")
    return int(number)
