"""HTTP to addresses that others have chosen: customers' webhooks, the CRM's API.

    async with guarded_client(chosen_by=ChosenBy.CUSTOMER, seconds=20) as client:
        response = await client.post(checked_url(url), json=...)

It connects to public addresses and to the hosts of the setting for who has chosen the URL, and to nothing else
(`addresses`). What is checked is the very address that is connected to (`network`), and each redirect again, by the
rule of the request that led there (`redirects`).

Which errors are for good is decided here: what is not fetched or not read (`AddressRefusedError`,
`AnswerRefusedError`). What the network did, time-outs included, is `HttpDownError`; a status is the caller's business.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Collection
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import httpcore
import httpx

from tasks.errors import ServiceDownError
from tasks.services.addresses import USUAL_PORTS, AddressRefusedError, ChosenBy, checked_url, shown
from tasks.services.body import AnswerRefusedError, BodyCutError, BoundedBody, Raw, known_encoding
from tasks.services.network import GuardedNetwork
from tasks.services.redirects import redirected

__all__ = [
    "AddressRefusedError",
    "AnswerRefusedError",
    "ChosenBy",
    "HttpDownError",
    "checked_url",
    "guarded_client",
]

#: For a whole request: the connection, redirects, the last byte of the answer.
ANSWER_SECONDS = 20.0
LARGEST_ANSWER = 1_000_000
MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NETWORK_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
    TimeoutError,
    OSError,
    BodyCutError,
)


class HttpDownError(ServiceDownError):
    """The host did not answer, not in time, or broke off."""


def guarded_client(
    *,
    chosen_by: ChosenBy = ChosenBy.CUSTOMER,
    seconds: float = ANSWER_SECONDS,
    largest: int = LARGEST_ANSWER,
    redirects: int = MOST_REDIRECTS,
    ports: Collection[int] = USUAL_PORTS,
) -> httpx.AsyncClient:
    """A client that fetches from public hosts only; use it as an async context manager.

    It keeps no cookies, takes no proxy from the environment, and unpacks gzip and deflate within `largest`.

    Args:
        chosen_by: who has chosen the URLs; for those of others than the company's own settings leave it out.
        seconds: for a whole request, redirects and the answer's body included.
        largest: bytes of an answer, unpacked.
        redirects: how many are followed; 0: the redirect itself is the answer. To another host go no authorization, no
            keys, no cookies; from https to http none is followed.
        ports: those that a URL may name; for hosts of the setting for `chosen_by` that setting decides.

    The requests of the client raise:
        AddressRefusedError: for what is not fetched.
        AnswerRefusedError: for an answer that is too large, or redirects too often.
        HttpDownError: when the host does not answer, not in time, or breaks off.
    """
    return httpx.AsyncClient(
        transport=_GuardedTransport(
            chosen_by=chosen_by, seconds=seconds, largest=largest, redirects=redirects, ports=ports
        ),
        timeout=seconds,
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"Accept-Encoding": "gzip, deflate", "User-Agent": "dirtfree-jobs"},
    )


class _GuardedTransport(httpx.AsyncBaseTransport):
    def __init__(
        self, *, chosen_by: ChosenBy, seconds: float, largest: int, redirects: int, ports: Collection[int]
    ) -> None:
        self._chosen_by = chosen_by
        self._seconds = seconds
        self._largest = largest
        self._redirects = redirects
        self._ports = ports
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(os.environ.get("SSL_CERT_FILE")),
            network_backend=GuardedNetwork(chosen_by),
            keepalive_expiry=30.0,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        deadline = asyncio.get_running_loop().time() + self._seconds
        for _ in range(self._redirects + 1):
            checked_url(request.url, chosen_by=self._chosen_by, ports=self._ports)
            response = await self._answer(request, deadline)
            location = response.headers.get("location")
            if self._redirects == 0 or response.status_code not in _REDIRECTS or location is None:
                return response
            await response.aclose()
            request = redirected(request, response.status_code, location)
        raise AnswerRefusedError(f"{shown(request.url)}: expected at most {self._redirects} redirects, got more")

    async def _answer(self, request: httpx.Request, deadline: float) -> httpx.Response:
        """One request and its answer, whose body is still to be read."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._pool.handle_async_request(sent)
        except _NETWORK_ERRORS as error:
            raise _down(request.url, error) from error
        headers = httpx.Headers(answer.headers)
        try:
            encoding = known_encoding(headers.get("content-encoding", ""))
        except AnswerRefusedError as error:
            await answer.aclose()
            raise AnswerRefusedError(f"{shown(request.url)}: {error}") from None
        if encoding:
            # It is unpacked here.
            del headers["content-encoding"]
            headers.pop("content-length", None)
        body = BoundedBody(cast(Raw, answer.stream), encoding=encoding, most=self._largest, deadline=deadline)
        return httpx.Response(
            answer.status, headers=headers, stream=_Body(body, request.url), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """A body whose troubles are told as ours."""

    def __init__(self, body: BoundedBody, url: httpx.URL) -> None:
        self._body = body
        self._url = url

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                yield piece
        except AnswerRefusedError as error:
            raise AnswerRefusedError(f"{shown(self._url)}: {error}") from None
        except _NETWORK_ERRORS as error:
            raise _down(self._url, error) from error

    async def aclose(self) -> None:
        await self._body.aclose()


def _down(url: httpx.URL, error: Exception) -> HttpDownError:
    kind = type(error).__name__
    if isinstance(error, TimeoutError):
        return HttpDownError(f"{shown(url)}: no answer, or no whole one, in time")
    return HttpDownError(f"{shown(url)}: {kind}: {error}" if str(error) else f"{shown(url)}: {kind}")


@cache
def _tls(own_authorities: str | None) -> ssl.SSLContext:
    # Made once: reading the authorities takes some 20 ms. SSL_CERT_FILE names those of a company's own.
    return httpx.create_ssl_context()
