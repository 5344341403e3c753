"""HTTP to addresses that others have chosen: nothing inside the company is reached, and no answer is too much."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import threading
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from guarded import ask
from http_server import Answer, Asked, HttpServer
from hypothesis import given
from hypothesis import strategies as st

from models.settings import SettingsError, settings
from tasks import PermanentError
from tasks.errors import ServiceDownError
from tasks.services.addresses import why_not_public
from tasks.services.http import (
    AddressRefusedError,
    AnswerRefusedError,
    ChosenBy,
    HttpDownError,
    checked_url,
    guarded_client,
)

INSIDE = [
    "http://127.0.0.1/", "http://127.8.9.1/", "http://10.1.2.3/", "http://172.16.0.1/", "http://172.31.255.255/",
    "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://100.100.100.200/",
    "http://0.0.0.0/", "http://0.1.2.3/", "http://224.0.0.1/", "http://255.255.255.255/", "http://240.0.0.1/",
    "http://192.0.0.192/", "http://198.18.0.1/", "http://203.0.113.9/", "http://168.63.129.16/",
    "http://[::1]/", "http://[::]/", "http://[fd00:ec2::254]/", "http://[fc00::1]/", "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/", "http://[ff02::1]/", "http://[fec0::1]/", "http://[2001:db8::1]/", "http://[4000::1]/",
    # IPv4 inside IPv6: mapped, compatible, 6to4, NAT64, Teredo, ISATAP.
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:a00:1]/", "http://[::127.0.0.1]/", "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/", "http://[64:ff9b::169.254.169.254]/", "http://[64:ff9b:1::10.0.0.1]/",
    "http://[2001:0:53aa:64c:0:0:f5ff:fffe]/", "http://[2600::5efe:10.0.0.1]/",
    # Other spellings of 127.0.0.1, and of 8.8.8.8.
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/",
    "http://127.0.0.1./", "http://134744072/", "http://127。0。0。1/", "http://0x/",
    "http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://a.localhost/", "http://localhost.localdomain/",
    "http://printer/", "http://nas.local/", "http://metadata.google.internal/", "http://router.lan/",
    "http://example.com./", "http://a..example/", "http://ex%61mple.com/", "http:///x", "http://-a.example/",
]  # fmt: skip
NO_WEB_SERVER = [
    "https://example.com:22/", "http://example.com:6379/", "http://example.com:5432/", "http://example.com:0/",
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/", "example.com", "",
    "http://user@example.com/", "http://user:secret@example.com/", "http://example.com\\@127.0.0.1/",
    "http://example.com:99999/", "http://[::1/", "http://exa\nmple.com/", "http://１２７.0.0.1/", "http://",
    "http://0177.0.0.1/", "http://127.0.0.01/",
    "https://example.com/" + "a" * 3000,
]  # fmt: skip


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


def resolved(*answers: str) -> list[Any]:
    """What socket.getaddrinfo answers for these addresses."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 80)) for answer in answers]


Resolve = Callable[[Callable[[str], Any]], None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Makes a name server of a function from a name to its answer.

    Addresses resolve to themselves as ever: threads of Prefect's may still be sending what an earlier test did.
    """
    real = socket.getaddrinfo

    def resolve_by(answer: Callable[[str], Any]) -> None:
        def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
            is_name = str(host).endswith((".example", ".example.com", ".intranet"))
            return answer(str(host)) if is_name else real(host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve_by


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the test's thread connected to; nobody is there."""
    addresses: list[str] = []
    test, real = threading.current_thread(), BaseSelectorEventLoop.sock_connect

    async def sock_connect(loop: Any, sock: Any, address: Any) -> None:
        if threading.current_thread() is not test:
            return await real(loop, sock, address)
        addresses.append(address[0])
        raise ConnectionRefusedError(111, "nobody is there")

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", sock_connect)
    return addresses


@pytest.mark.parametrize("url", INSIDE)
def test_what_is_inside_is_refused(url: str, connected: list[str]) -> None:
    with pytest.raises(AddressRefusedError, match="Only public hosts are; .* JOB_QUEUE_WEBHOOK_HOSTS"):
        checked_url(url)

    async def unchecked() -> None:
        async with guarded_client() as client:
            await client.get(url)

    with pytest.raises(AddressRefusedError):
        asyncio.run(unchecked())
    assert connected == []


@pytest.mark.parametrize("url", NO_WEB_SERVER)
def test_what_is_no_url_of_a_web_server_is_refused(url: str) -> None:
    with pytest.raises(AddressRefusedError) as refused:
        checked_url(url)
    assert isinstance(refused.value, PermanentError)
    assert "secret" not in str(refused.value)


def test_public_hosts_are_not_refused() -> None:
    for url in (
        "https://example.com/hook?x=1", "http://8.8.8.8:8080/", "https://[2606:4700::1111]:8443/", "http://1.1.1.1/",
        "https://xn--bcher-kva.example/", "https://bücher.example/", "http://[::ffff:8.8.8.8]/", "http://a_b.example/",
        "http://[64:ff9b::8.8.8.8]/", "https://3m.example/", "https://0x.org/",
    ):  # fmt: skip
        checked_url(url)


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_that_python_calls_private_is_public(number: int) -> None:
    address = IPv4Address(number)
    if not address.is_global or address.is_multicast:
        assert why_not_public(address)
    for hidden in (f"::ffff:{address}", f"64:ff9b::{address}", f"2a00::5efe:{address}"):
        assert bool(why_not_public(IPv6Address(hidden))) is bool(why_not_public(address))


@given(st.integers(0, 2**128 - 1) | st.integers(0x2 << 124, (0x4 << 124) - 1))
def test_no_ipv6_address_that_python_calls_private_is_public(number: int) -> None:
    address = IPv6Address(number)
    if not address.is_global or address.is_multicast:
        assert why_not_public(address)


def test_a_name_is_refused_for_what_it_resolves_to(connected: list[str], resolve: Resolve) -> None:
    for answer in ("127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%2"):
        resolve(lambda name, answer=answer: resolved("8.8.8.8", answer))
        with pytest.raises(AddressRefusedError, match="'rebind.example' is not fetched: its address"):
            ask("http://rebind.example/")
    assert connected == []


def test_a_name_server_that_changes_its_mind_gains_nothing(
    connected: list[str], resolve: Resolve
) -> None:
    """Public when it is checked, private the next time: asked once, and what was checked is connected to."""
    answers = itertools.cycle(["8.8.8.8", "127.0.0.1"])
    asked: list[str] = []

    def answer(name: str) -> list[Any]:
        asked.append(name)
        return resolved(next(answers))

    resolve(answer)

    async def twice() -> None:
        async with guarded_client() as client:
            with pytest.raises(HttpDownError, match=r"http://rebind\.example: ConnectError"):
                await client.get("http://rebind.example/")
            assert (asked, connected) == (["rebind.example"], ["8.8.8.8"])
            with pytest.raises(AddressRefusedError):
                await client.get("http://rebind.example/")

    asyncio.run(twice())
    assert (asked, connected) == (["rebind.example"] * 2, ["8.8.8.8"])


def test_of_several_addresses_the_next_is_tried(
    server: HttpServer, configure: Any, resolve: Resolve
) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=f"crm.intranet:{server.port}")
    resolve(lambda name: resolved("127.0.0.9", "127.0.0.1"))

    assert ask(f"http://crm.intranet:{server.port}/").status_code == 200
    assert server.asked[0].headers["host"] == f"crm.intranet:{server.port}"


def test_only_the_hosts_and_ports_of_the_setting_are_allowed(server: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=f" {server.host} , [::1]:8080,intra.example")
    assert ask(server.url).status_code == 200
    checked_url("http://[::1]:8080/")
    checked_url("http://intra.example:1234/")
    for refused in (
        "http://127.0.0.1/", f"http://localhost:{server.port}/", f"http://0x7f.1:{server.port}/", "http://[::1]/",
        f"http://127.1:{server.port}/", "http://a.intra.example:1234/",
    ):  # fmt: skip
        with pytest.raises(AddressRefusedError):
            ask(refused)
    with pytest.raises(SettingsError, match="expected host or host:port .* got 'http://crm.intranet'"):
        configure(JOB_QUEUE_WEBHOOK_HOSTS="http://crm.intranet")
        settings()


@pytest.mark.parametrize(
    ("chosen_by", "own", "others"),
    [
        (ChosenBy.COMPANY, "JOB_QUEUE_INTERNAL_HOSTS", "JOB_QUEUE_WEBHOOK_HOSTS"),
        (ChosenBy.CUSTOMER, "JOB_QUEUE_WEBHOOK_HOSTS", "JOB_QUEUE_INTERNAL_HOSTS"),
    ],
)
def test_what_the_company_may_reach_a_customers_url_may_not_and_the_other_way_round(
    chosen_by: ChosenBy, own: str, others: str, server: HttpServer, configure: Any, resolve: Resolve
) -> None:
    resolve(lambda name: resolved("127.0.0.1"))
    named = f"http://crm.intranet:{server.port}/"
    configure(**{others: f"{server.host},crm.intranet"})
    for url in (server.url, named):
        with pytest.raises(AddressRefusedError, match=f"where it is yours, add it to {own}, as"):
            ask(url, chosen_by=chosen_by)

    async def unchecked(url: str) -> None:
        async with guarded_client(chosen_by=chosen_by) as client:
            await client.get(url)

    # A name that looks public, and turns out to be an address inside.
    with pytest.raises(AddressRefusedError, match=f"its address 127.0.0.1 is loopback.*{own}"):
        asyncio.run(unchecked("http://crm.example.com/"))
    assert server.asked == []

    configure(**{own: f"{server.host},crm.intranet"})
    assert [ask(url, chosen_by=chosen_by).status_code for url in (server.url, named)] == [200, 200]


def test_a_redirect_is_followed_by_the_rule_of_the_request_that_led_there(server: HttpServer, configure: Any) -> None:
    with HttpServer() as crm:
        configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host, JOB_QUEUE_INTERNAL_HOSTS=f"{server.host},{crm.host}")
        server.answer = lambda asked: Answer(302, headers={"Location": crm.url})
        with pytest.raises(AddressRefusedError, match="JOB_QUEUE_WEBHOOK_HOSTS"):
            ask(server.url, chosen_by=ChosenBy.CUSTOMER)
        assert crm.asked == []
        assert ask(server.url, chosen_by=ChosenBy.COMPANY).status_code == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_into_the_company_is_refused(status: int, server: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host)
    with HttpServer() as other:
        for target in (
            other.url, f"http://localhost:{server.port}/", f"http://2130706433:{server.port}/", "//169.254.169.254/",
            "http://[::ffff:127.0.0.1]/", "file:///etc/passwd", "ftp://127.0.0.1/", f"http://u:p@{server.host}/",
            "http://[", "http://10.0.0.1/" + "a" * 3000,
        ):  # fmt: skip
            server.answer = lambda asked, target=target: Answer(status, headers={"Location": target})
            for method in ("GET", "POST"):
                with pytest.raises(AddressRefusedError):
                    ask(f"{server.url}/start", method)
        assert other.asked == []
    assert set(server.paths) == {"/start"}


def test_redirects_are_followed_and_counted(server: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host)

    def count_down(asked: Asked) -> Answer:
        left = int(asked.path.strip("/"))
        return Answer(302, headers={"Location": f"/{left - 1}"}) if left else Answer(body=b"there")

    server.answer = count_down
    assert ask(f"{server.url}/5").text == "there"
    with pytest.raises(AnswerRefusedError, match="expected at most 5 redirects, got more"):
        ask(f"{server.url}/6")
    assert ask(f"{server.url}/5", redirects=0).status_code == 302


def test_another_host_is_told_no_secrets(server: HttpServer, configure: Any) -> None:
    secrets = {"Authorization": "Bearer 1", "X-Signature": "2", "Cookie": "session=3", "Accept": "text/plain"}
    with HttpServer(lambda asked: Answer(headers={"Set-Cookie": "tracking=1"})) as other:
        configure(JOB_QUEUE_WEBHOOK_HOSTS=f"{server.host},{other.host}")
        server.answer = lambda asked: Answer(307, headers={"Location": other.url, "Set-Cookie": "session=4"})
        ask(server.url, "POST", headers=secrets, content=b"body")
        (there,) = other.asked
        assert (there.method, there.body, there.headers["host"]) == ("POST", b"body", other.host)
        assert there.headers["accept"] == "text/plain"
        assert not {"authorization", "x-signature", "cookie"} & there.headers.keys()

        server.answer = lambda asked: Answer(303 if asked.path == "/a" else 200, headers={"Location": "/b"})
        ask(f"{server.url}/a", "POST", headers=secrets, content=b"body")
        same = server.asked[-1]
        assert (same.method, same.path, same.body) == ("GET", "/b", b"")
        assert (same.headers["authorization"], same.headers["x-signature"]) == ("Bearer 1", "2")
        assert "cookie" not in same.headers and "content-length" not in same.headers


def test_no_cookie_is_kept_and_no_proxy_taken(
    server: HttpServer, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host, HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9")
    server.answer = lambda asked: Answer(headers={"Set-Cookie": "session=1; Path=/"})

    async def twice() -> None:
        async with guarded_client() as client:
            await client.get(server.url)
            await client.get(server.url)

    asyncio.run(twice())
    assert ["cookie" in asked.headers for asked in server.asked] == [False, False]


def test_a_host_that_drips_has_the_time_of_the_whole_request(server: HttpServer, configure: Any) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=server.host)

    def drip() -> Iterator[bytes]:
        while not server.over.wait(0.05):
            yield b"x"

    def silence(asked: Asked) -> Answer:
        server.over.wait()
        return Answer()

    def circle(asked: Asked) -> Answer:
        server.over.wait(0.3)
        return Answer(302, headers={"Location": "/"})

    for answer in (lambda asked: Answer(body=drip()), silence, circle):
        server.answer = answer
        with pytest.raises(HttpDownError, match="no answer, or no whole one, in time"):
            ask(server.url, seconds=0.5)


def test_a_name_server_that_never_answers_has_no_more_time(
    server: HttpServer, configure: Any, resolve: Resolve
) -> None:
    resolve(lambda name: server.over.wait())
    with pytest.raises(HttpDownError, match="in time"):
        ask("http://slow.example/", seconds=0.2)


def test_a_host_that_is_away_or_breaks_off_is_down(
    server: HttpServer, configure: Any, resolve: Resolve
) -> None:
    configure(JOB_QUEUE_WEBHOOK_HOSTS=f"{server.host},127.0.0.1:1,gone.example")
    server.answer = lambda asked: Answer(body=b"half of it", cut=True)
    for url in (server.url, "http://127.0.0.1:1/"):
        with pytest.raises(HttpDownError) as down:
            ask(f"{url}/?key=secret")
        assert isinstance(down.value, ServiceDownError)
        assert "secret" not in str(down.value)

    def unknown(name: str) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    resolve(unknown)
    with pytest.raises(HttpDownError, match="Name or service not known"):
        ask("http://gone.example/")


def test_tls_asks_for_the_name_and_checks_it(configure: Any, tmp_path: Path, resolve: Resolve) -> None:
    authority, context = certificate("crm.intranet", tmp_path)
    names: list[str | None] = []
    context.sni_callback = lambda socket_, name, context_: names.append(name)
    resolve(lambda name: resolved("127.0.0.1"))
    with HttpServer(tls=context) as server:
        configure(JOB_QUEUE_WEBHOOK_HOSTS="crm.intranet,other.intranet", SSL_CERT_FILE=authority)
        assert ask(f"https://crm.intranet:{server.port}/").status_code == 200
        assert names == ["crm.intranet"]
        with pytest.raises(HttpDownError, match="other.intranet"):
            ask(f"https://other.intranet:{server.port}/")

        server.answer = lambda asked: Answer(302, headers={"Location": f"http://crm.intranet:{server.port}/"})
        with pytest.raises(AddressRefusedError, match="redirects from https to 'http'"):
            ask(f"https://crm.intranet:{server.port}/")
    configure(SSL_CERT_FILE="")
    with HttpServer(tls=context) as server, pytest.raises(HttpDownError, match="certificate"):
        ask(f"https://crm.intranet:{server.port}/")


def certificate(name: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of this name that signs itself, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    own = folder / "own.pem"
    own.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return own, context


def test_addresses_are_what_they_seem() -> None:
    assert why_not_public(ip_address("169.254.169.254")) == "link-local, where clouds have their metadata"
    assert why_not_public(ip_address("::ffff:10.0.0.1")) == "10.0.0.1, which is private"
    assert why_not_public(ip_address("8.8.8.8")) is None
