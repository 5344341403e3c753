"""The body of an answer: read within a time, unpacked within a size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import httpx

from tasks.errors import PermanentError

#: What gzip makes of a kilobyte can be a megabyte: unpacked a piece at a time, and counted before the next.
_PIECE = 64 * 1024


class AnswerRefusedError(PermanentError):
    """The answer is not one that is read: too large, packed in an unknown way, redirected without end."""


class BodyCutError(Exception):
    """The body ended before it was whole."""


class Raw(Protocol):
    """A body as it comes from the network."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class BoundedBody(httpx.AsyncByteStream):
    """The body unpacked, piece by piece, at most `most` bytes and until `deadline` (the event loop's clock).

    Raises, while it is iterated:
        AnswerRefusedError: for more than that.
        BodyCutError: when what is packed ends too early or is broken.
        TimeoutError: after the deadline.
    """

    def __init__(self, raw: Raw, *, encoding: str, most: int, deadline: float) -> None:
        self._raw = raw
        self._unpack = _Unpacking(encoding) if encoding else None
        self._most = most
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = taken = 0
        pieces = aiter(self._raw)
        while True:
            async with asyncio.timeout_at(self._deadline):
                packed = await anext(pieces, None)
            if packed is None:
                break
            taken += len(packed)
            # Behind the end of what is packed there can be more, for ever; packing adds a few bytes at most.
            if taken > self._most + _PIECE:
                raise self._too_long()
            for piece in self._unpack(packed) if self._unpack else (packed,):
                total += len(piece)
                if total > self._most:
                    raise self._too_long()
                yield piece
        if self._unpack is not None and not self._unpack.whole:
            raise BodyCutError("the packed answer ends too early")

    async def aclose(self) -> None:
        await self._raw.aclose()

    def _too_long(self) -> AnswerRefusedError:
        return AnswerRefusedError(f"expected an answer of at most {self._most:,} bytes, got a longer one")


def known_encoding(header: str) -> str:
    """The Content-Encoding of an answer: gzip, deflate or, for none, an empty text.

    Raises:
        AnswerRefusedError: for any other, and for one over another.
    """
    encoding = header.strip().lower().removeprefix("x-")
    if encoding in ("", "identity"):
        return ""
    if encoding not in ("gzip", "deflate"):
        raise AnswerRefusedError(f"expected an answer as it is, or packed with gzip or deflate, got {encoding!r:.60}")
    return encoding


class _Unpacking:
    def __init__(self, encoding: str) -> None:
        self._is_deflate = encoding == "deflate"
        self._first = b""
        self._unpacked: zlib._Decompress | None = None

    @property
    def whole(self) -> bool:
        return self._unpacked.eof if self._unpacked is not None else not self._first

    def __call__(self, packed: bytes) -> Iterator[bytes]:
        if self._unpacked is None:
            packed = self._first = self._first + packed
            if len(packed) < 2:
                return
            self._unpacked = zlib.decompressobj(self._window(packed))
        while not self._unpacked.eof:
            try:
                piece = self._unpacked.decompress(packed, _PIECE)
            except zlib.error as error:
                raise BodyCutError(f"the packed answer is broken: {error}") from None
            packed = self._unpacked.unconsumed_tail
            if piece:
                yield piece
            # A full piece may have left something inside, with all that was packed taken.
            if not packed and len(piece) < _PIECE:
                break

    def _window(self, first: bytes) -> int:
        # RFC 1950: these two bytes are a multiple of 31. Some servers send "deflate" without such a header.
        is_bare = self._is_deflate and (first[0] & 0x0F != zlib.DEFLATED or int.from_bytes(first[:2]) % 31 != 0)
        return -zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32
