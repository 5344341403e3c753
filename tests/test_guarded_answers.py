"""What hosts that others have chosen answer: of any length, packed, or made to burst."""

from __future__ import annotations

import gzip
import resource
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from guarded import ask
from http_server import Answer, HttpServer

from tasks.services.http import AnswerRefusedError, HttpDownError


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


def test_a_long_answer_is_not_read_to_its_end(server: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host)
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        while not server.over.is_set():
            sent.append(1)
            yield b"x" * 65_536

    server.answer = lambda asked: Answer(body=endless() if asked.path == "/endless" else b"x" * 200_001)
    for path in ("/endless", "/said"):
        with pytest.raises(AnswerRefusedError, match="at most 200,000 bytes, got a longer one"):
            ask(server.url + path, largest=200_000)
    assert ask(f"{server.url}/said", largest=200_001).content == b"x" * 200_001


def pack(kind: str) -> Callable[[bytes], bytes]:
    bare = zlib.compressobj(wbits=-15)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress, "deflate": zlib.compress, "bare": lambda data: bare.compress(data) + bare.flush(),
    }  # fmt: skip
    return packers[kind]


@pytest.mark.parametrize("kind", ["gzip", "deflate", "bare"])
def test_packed_answers_are_unpacked(kind: str, server: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host)
    whole = b"".join(b"%d," % number for number in range(50_000)) + b"\0" * 300_000
    packed = pack(kind)(whole)
    headers = {"Content-Encoding": "gzip" if kind == "gzip" else "deflate"}
    server.answer = lambda asked: Answer(body=packed, headers=headers)
    assert ask(server.url).content == whole

    server.answer = lambda asked: Answer(body=iter([packed[:1], packed[1:7], packed[7:]]), headers=headers)
    assert ask(server.url).content == whole

    for broken in (packed[:-20], b"no such thing"):
        server.answer = lambda asked, broken=broken: Answer(body=broken, headers=headers)
        with pytest.raises(HttpDownError, match="packed answer"):
            ask(server.url)


def test_a_bomb_does_not_go_off(server: HttpServer, configure: Any) -> None:
    """256 megabytes in a quarter of one: refused at the first million bytes, without the memory for the rest."""
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host)
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = b"".join([squeeze.compress(bytes(2**24)) for _ in range(16)]) + squeeze.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server.answer = lambda asked: Answer(body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(AnswerRefusedError, match="at most 1,000,000 bytes"):
        ask(server.url)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000

    def more() -> Iterator[bytes]:
        yield gzip.compress(b"all there is")
        while not server.over.is_set():
            yield bytes(65_536)

    server.answer = lambda asked: Answer(body=more(), headers={"Content-Encoding": "gzip"})
    with pytest.raises(AnswerRefusedError, match="at most 1,000,000 bytes"):
        ask(server.url)

    for other in ("br", "gzip, gzip", "compress"):
        server.answer = lambda asked, other=other: Answer(body=bomb, headers={"Content-Encoding": other})
        with pytest.raises(AnswerRefusedError, match="packed with gzip or deflate"):
            ask(server.url)
