"""Connections to addresses that were checked.

A name is resolved once, everything it resolves to is checked, and the connection is made to one of these addresses:
there is no moment in between in which a name server could answer something else. TLS and the Host header keep the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from functools import partial

import anyio
import anyio.to_thread
import httpcore

from tasks.services.addresses import AddressRefusedError, ChosenBy, check_address, check_name

#: For one address; a host that is up answers within a few hundred milliseconds, a lost packet costs a second.
CONNECT_SECONDS = 5.0
#: Of a name's addresses, all of which are checked, so many are tried.
_ADDRESSES_TRIED = 3
#: Each in a thread that cannot be stopped: a name server that never answers must not use up the process's threads.
_RESOLVED_AT_ONCE = 8


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, and to no name."""

    def __init__(self, chosen_by: ChosenBy) -> None:
        self._chosen_by = chosen_by
        self._network = httpcore.AnyIOBackend()
        self._resolving = anyio.CapacityLimiter(_RESOLVED_AT_ONCE)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            addresses = await self._addresses(host, port)
        error: Exception | None = None
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._network.connect_tcp(
                    address,
                    port,
                    timeout=min(timeout or CONNECT_SECONDS, CONNECT_SECONDS),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.NetworkError, httpcore.TimeoutException) as problem:
                error = problem
        assert error is not None
        raise error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefusedError("a socket of this machine is not fetched")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """What the host resolves to, every address checked: one that is not public spoils the name."""
        allowed = self._chosen_by.may_reach(host, port)
        if not allowed:
            check_name(host, self._chosen_by)
        found = await anyio.to_thread.run_sync(
            partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=self._resolving,
        )
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses:
            raise OSError(f"{host} has no address")
        if not allowed:
            for address in addresses:
                check_address(address, host, self._chosen_by, port)
        return addresses
