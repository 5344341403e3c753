"""The settings that hold Apprise URLs: splitting and checking them without Apprise, and never showing one."""

from __future__ import annotations

import re

#: In front of another URL; a comma anywhere else belongs to the URL that it stands in.
_BETWEEN = re.compile(r"[,\s]+(?=[A-Za-z0-9+.-]+://)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
#: Each is a call of up to 8 s.
MOST_URLS = 20
PHONE = "{phone}"


def apprise_urls(text: str) -> list[str]:
    """The URLs of a list separated by commas, each once.

    Raises:
        ValueError: when something in it is none, or there are too many; no part of it is in the message.
    """
    urls = list(dict.fromkeys(part.strip(" ,\t\n") for part in _BETWEEN.split(text.strip(" ,\t\n")) if part))
    for number, url in enumerate(urls, 1):
        if not _URL.fullmatch(url):
            raise ValueError(f"expected URLs such as json://host/path, separated by commas; number {number} is none")
    if len(urls) > MOST_URLS:
        raise ValueError(f"expected at most {MOST_URLS} URLs, got {len(urls)}")
    return urls


def phone_template(text: str) -> str:
    """The URL, with one `{phone}` in it.

    Raises:
        ValueError: when it is something else; no part of it is in the message.
    """
    url = text.strip()
    if not _URL.fullmatch(url) or url.count(PHONE) != 1:
        raise ValueError("expected one URL with {phone} once in it, such as twilio://sid:token@+14155550100/{phone}")
    return url
