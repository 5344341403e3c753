"""The connections to the mail server: shared, replaced, refused, encrypted."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from aiosmtplib import SMTP
from mail_server import MailServer

from models.smtp_url import smtp_server
from tasks import PermanentError
from tasks.services import smtp
from tasks.services.smtp import SmtpError, SmtpPool, SmtpRefusedError
from tests.ports import unused_port

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),
    # Where the mail server's breaker is noted; and it closes what an earlier test opened.
    pytest.mark.usefixtures("database"),
]

SENDER = "hello@dirtfree.example"
CONTENT = b"Subject: hi\r\n\r\nhello\r\n"


def send(pool_: SmtpPool, *, recipient: str = "anna@example.com", content: bytes = CONTENT) -> Any:
    return pool_.send(SENDER, recipient, content)


def pool(server: MailServer, **options: Any) -> SmtpPool:
    return SmtpPool(server=smtp_server(server.url("?starttls=never&connections=3")), **options)


def test_mails_share_a_bounded_number_of_connections() -> None:
    async def main(server: MailServer) -> None:
        connections = pool(server)
        await asyncio.gather(*(send(connections) for _ in range(30)))
        await connections.close()

    with MailServer() as server:
        asyncio.run(main(server))

        assert len(server.received) == 30
        assert server.connections == 3
        assert server.received[0].content == CONTENT
        assert server.received[0].recipients == ["anna@example.com"]


def test_lines_that_begin_with_a_dot_arrive_whole() -> None:
    content = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n"
    with MailServer() as server:
        asyncio.run(send(pool(server), content=content))

        assert server.received[0].content == content


@pytest.mark.parametrize("closing", ["hang up", "421"])
def test_a_connection_that_ended_while_idle_is_replaced_and_the_mail_sent(closing: str) -> None:
    async def main(server: MailServer) -> None:
        connections = pool(server)
        await send(connections)
        if closing == "hang up":
            await asyncio.to_thread(server.hang_up)
        else:
            replies = iter(["421 too many mails on this connection"])
            server.on_mail = lambda envelope: next(replies, None)
        await send(connections)

    with MailServer() as server:
        asyncio.run(main(server))

        assert len(server.received) == 2
        assert server.connections == 2


def test_a_server_that_is_down_is_reported_and_used_again_when_it_is_back() -> None:
    async def main(server: MailServer) -> None:
        connections = pool(server)
        await send(connections)
        await asyncio.to_thread(server.stop)
        with pytest.raises(SmtpError, match=rf"SMTP server 127.0.0.1:{server.port}: connection failed: "):
            await send(connections)
        await asyncio.to_thread(server.start)
        await send(connections)

    with MailServer() as server:
        asyncio.run(main(server))

        assert len(server.received) == 2


@pytest.mark.parametrize("hook", ["on_mail", "on_recipient", "on_content"])
@pytest.mark.parametrize("reply", ["450 come back later", "550 5.1.1 no such user", "452 full", "554 5.7.1 spam"])
def test_a_refusal_is_for_good_when_the_server_says_so(hook: str, reply: str) -> None:
    operation = {"on_mail": "sender", "on_recipient": "recipient", "on_content": "content"}[hook]

    async def main(server: MailServer) -> BaseException:
        connections = pool(server)
        with pytest.raises((SmtpError, SmtpRefusedError)) as caught:
            await send(connections)
        setattr(server, hook, lambda envelope: None)
        await send(connections)
        return caught.value

    with MailServer() as server:
        setattr(server, hook, lambda envelope: reply)
        error = asyncio.run(main(server))

        assert isinstance(error, PermanentError) == reply.startswith("5")
        verb = "refused" if reply.startswith("5") else "failed"
        assert str(error) == f"SMTP server 127.0.0.1:{server.port}: {operation} {verb}: {reply}"
        assert len(server.received) == 1


def test_a_refused_recipient_does_not_cost_the_connection() -> None:
    async def main(server: MailServer) -> None:
        connections = pool(server)
        with pytest.raises(SmtpRefusedError):
            await send(connections, recipient="unknown@example.com")
        await send(connections)

    with MailServer() as server:
        server.on_recipient = lambda envelope: "550 unknown" if "unknown" in envelope.rcpt_tos[-1] else None
        asyncio.run(main(server))

        assert server.connections == 1
        assert [mail.recipients for mail in server.received] == [["anna@example.com"]]


def test_a_server_that_never_answers_is_given_up_and_may_be_tried_again() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        connections = SmtpPool(server=smtp_server(f"smtp://127.0.0.1:{port}"), answer_seconds=0.1)
        with pytest.raises(SmtpError, match=f"SMTP server 127.0.0.1:{port}: connection failed: .*Timed out"):
            await send(connections)

    asyncio.run(main())


def test_a_mail_that_is_interrupted_leaves_no_half_used_connection() -> None:
    async def main(server: MailServer) -> None:
        connections = pool(server)
        reached = threading.Event()

        async def never_answer(envelope: Any) -> None:
            reached.set()
            await asyncio.Event().wait()

        server.on_content = never_answer
        task = asyncio.create_task(send(connections))
        assert await asyncio.to_thread(reached.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.on_content = lambda envelope: None
        await send(connections, recipient="bob@example.com")

    with MailServer() as server:
        asyncio.run(main(server))

        assert server.received[-1].recipients == ["bob@example.com"]
        assert server.connections == 2


def test_idle_connections_are_closed_and_so_are_all_at_the_loops_end(monkeypatch: pytest.MonkeyPatch) -> None:
    goodbyes: list[SMTP] = []
    said = asyncio.Event()
    quit_ = SMTP.quit

    async def quit_and_note(self: SMTP, **options: Any) -> Any:
        goodbyes.append(self)
        said.set()
        return await quit_(self, **options)

    monkeypatch.setattr(SMTP, "quit", quit_and_note)

    async def idle(server: MailServer) -> None:
        await send(pool(server, idle_seconds=0.0))
        await said.wait()

    with MailServer() as server:
        asyncio.run(idle(server))
        assert len(goodbyes) == 1
        asyncio.run(send(pool(server)))
        assert len(goodbyes) == 2


def test_each_event_loop_has_a_pool_of_its_own() -> None:
    server = smtp_server("smtp://127.0.0.1")

    async def the_pool() -> SmtpPool:
        assert smtp.smtp_pool(server) is smtp.smtp_pool(server)
        return smtp.smtp_pool(server)

    assert asyncio.run(the_pool()) is not asyncio.run(the_pool())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail test")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("certificate") / "mail.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return pem


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def send_to(url: str) -> None:
    asyncio.run(send(SmtpPool(server=smtp_server(url))))


def test_smtps_and_starttls_carry_the_log_in_encrypted(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with MailServer(tls=tls, login=("user", "p/w"), auth_require_tls=False) as server:
        send_to(server.url(user="user:p%2Fw@", scheme="smtps"))
        assert len(server.received) == 1
    with MailServer(login=("user", "p/w"), tls_context=tls, auth_require_tls=True) as server:
        send_to(server.url(user="user:p%2Fw@"))
        assert len(server.received) == 1


def test_a_certificate_that_nobody_vouches_for_is_not_believed(tls: ssl.SSLContext) -> None:
    with (
        MailServer(tls=tls) as server,
        pytest.raises(SmtpError, match="connection failed: .*CERTIFICATE_VERIFY_FAILED"),
    ):
        send_to(server.url(scheme="smtps"))
    with (
        MailServer(tls_context=tls) as server,
        pytest.raises(SmtpError, match="connection failed: .*CERTIFICATE_VERIFY_FAILED"),
    ):
        send_to(server.url("?starttls=required"))


def test_a_password_is_not_sent_in_the_clear_unless_asked_for() -> None:
    with MailServer(login=("user", "SECRET"), auth_require_tls=False) as server:
        with pytest.raises(SmtpError, match="STARTTLS extension not supported.*add starttls=never to SMTP_URL"):
            send_to(server.url(user="user:SECRET@"))
        send_to(server.url("?starttls=never", user="user:SECRET@"))

        assert len(server.received) == 1


def test_a_wrong_password_is_refused_for_good_and_never_named() -> None:
    with MailServer(login=("user", "right"), auth_require_tls=False) as server:
        with pytest.raises(SmtpRefusedError) as caught:
            send_to(server.url("?starttls=never", user="user:SECRET@"))

        assert str(caught.value).startswith(f"SMTP server 127.0.0.1:{server.port}: log-in refused: 535 5.7.8 ")
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_server_that_quotes_the_password_is_not_repeated() -> None:
    server = smtp_server("smtp://user:SECRET@mail.example")
    text = SmtpPool(server=server)._clean("5.7.8 no: AHVzZXIAU0VDUkVU or\r\nSECRET \x00 or U0VDUkVU")

    assert text == "5.7.8 no: *** or *** or ***"


def test_nobody_listening_is_said_so() -> None:
    port = unused_port()
    with pytest.raises(SmtpError, match=f"SMTP server 127.0.0.1:{port}: connection failed: .*"):
        send_to(f"smtp://127.0.0.1:{port}")
