"""Redirects: the request that an answer asks for instead, with nothing in it that is meant for the first host alone."""

from __future__ import annotations

import httpx

from tasks.services.addresses import AddressRefusedError, host_of, port_of, shown
from tasks.services.body import AnswerRefusedError

_OF_THE_BODY = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding"})
#: What another host is told. Authorization, signatures, keys and cookies are for the first one.
_FOR_ANY_HOST = frozenset({"accept", "accept-encoding", "accept-language", "user-agent", *_OF_THE_BODY})


def redirected(request: httpx.Request, status: int, location: str) -> httpx.Request:
    """The request that the answer asks for instead.

    Raises:
        AddressRefusedError: when it is none that is made.
    """
    before = request.url
    try:
        url = before.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefusedError(f"{shown(before)} redirects to something that is no URL: {error}") from None
    if before.scheme == "https" and url.scheme != "https":
        raise AddressRefusedError(f"{shown(before)} redirects from https to {url.scheme!r:.60}: that is not followed")
    method = request.method
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
    dropped = {"host", "cookie"}
    if method != request.method:
        dropped |= _OF_THE_BODY
    elif not isinstance(request.stream, httpx.ByteStream):
        raise AnswerRefusedError(f"{shown(before)} redirects a body that cannot be sent twice")
    headers = [("host", url.netloc.decode("ascii"))]
    headers += [
        (name, value)
        for name, value in request.headers.multi_items()
        if name not in dropped and (name in _FOR_ANY_HOST or _is_same_host(before, url))
    ]
    stream = request.stream if method == request.method else None
    return httpx.Request(method, url, headers=headers, stream=stream, extensions=request.extensions)


def _is_same_host(before: httpx.URL, url: httpx.URL) -> bool:
    """Whether it is the same origin, or the same host's secure one."""
    if url.scheme not in ("http", "https") or host_of(before) != host_of(url):
        return False
    if before.scheme == url.scheme:
        return port_of(before) == port_of(url)
    return (port_of(before), port_of(url)) == (80, 443)
