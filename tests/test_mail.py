"""Mail: what is written into one, what is refused, the connections to the mail server, and the outbox."""

from __future__ import annotations

import asyncio
import datetime as dt
import email
import email.utils
import ipaddress
import os
import ssl
import threading
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtplib import SMTP
from hypothesis import example, given
from hypothesis import strategies as st
from mail_server import MailServer, free_port

from models.mailbox import Mailbox, mailbox
from models.settings import SettingsError, settings
from models.signing import KEY_FILE, SigningKeyError
from models.smtp_url import Encryption, smtp_server
from models.unsubscribe import customer_of, unsubscribe_link, unsubscribe_token
from models.write_once import write_once
from tasks import PermanentError, smtp
from tasks.context import CurrentJob, running_job
from tasks.mime import Mail, mail_bytes
from tasks.outbox import fails_for_demo
from tasks.render import money, paragraphs, percent
from tasks.smtp import SmtpError, SmtpPool, SmtpRefusedError

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

SENDER = Mailbox("hello@dirtfree.example", "Dirt Free")
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"]
UNSUBSCRIBE_HEADERS = ["List-Unsubscribe", "List-Unsubscribe-Post"]
#: Decoded by the standard library when it writes a header, newline and all.
ENCODED_NEWLINE = "=?utf-8?q?hi=0D=0ABcc=3A_evil=40example.org?="
CONTENT = b"Subject: hi\r\n\r\nhello\r\n"


def written(mail: Mail, sender: Mailbox = SENDER) -> bytes:
    return mail_bytes(mail, sender=sender, message_id="promotion.1")


def parsed(content: bytes) -> EmailMessage:
    message = BytesParser(policy=default).parsebytes(content)
    assert isinstance(message, EmailMessage)
    return message


def name_in_to(content: bytes) -> str:
    # The newer parser puts spaces between the encoded words of a name; mail programs, and this one, do not.
    raw = email.message_from_bytes(content)["To"].rpartition("<")[0]
    return str(make_header(decode_header("".join(raw.splitlines()).rstrip(" "))))


def a_mail(*, name: str = "Anna", subject: str = "Hello", text: str = "Text", link: str | None = None) -> Mail:
    return Mail(Mailbox("anna@example.com", name), subject, text, "<p>HTML</p>", link)


# ---- what is written


def test_a_mail_has_text_html_and_the_usual_headers() -> None:
    message = parsed(written(a_mail(name="Anna Ä. Smith, jr.", subject="Grüße – 10 %", text="Schöne Grüße\n")))

    assert sorted(message.keys()) == sorted(HEADERS)
    assert [(box.display_name, box.addr_spec) for box in message["To"].addresses] == [
        ("Anna Ä. Smith, jr.", "anna@example.com")
    ]
    assert message["Subject"] == "Grüße – 10 %"
    assert message["Message-ID"] == "<promotion.1@dirtfree.example>"
    assert email.utils.parsedate_to_datetime(str(message["Date"])).tzinfo is not None
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None and text.get_content().strip() == "Schöne Grüße"
    assert html is not None and html.get_content().strip() == "<p>HTML</p>"


def test_an_unsubscribe_link_is_written_whole_however_long() -> None:
    link = "https://example.com/api/unsubscribe/" + "x" * 300

    content = written(a_mail(link=link))

    assert f"List-Unsubscribe: <{link}>\r\n".encode() in content
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in content


def test_a_link_that_no_line_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="List-Unsubscribe: expected ASCII words of at most 998"):
        written(a_mail(link="https://example.com/" + "x" * 1000))


def test_plain_words_stay_readable_in_the_file() -> None:
    content = written(a_mail(name="Anna O'Neil", subject="Clean carpets, 10% off (this week only)!"))

    assert b"To: Anna O'Neil <anna@example.com>\r\n" in content
    assert b"Subject: Clean carpets, 10% off (this week only)!\r\n" in content


@given(
    name=st.text(max_size=120) | st.just(ENCODED_NEWLINE) | st.from_regex(r"[ ,;:<>@\"()a-z.\\=?]{1,60}", fullmatch=True),
    subject=st.text(max_size=120) | st.just(ENCODED_NEWLINE) | st.text("=?utf-8qb_0DA \r\n:", max_size=60),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
)
@example(name=ENCODED_NEWLINE, subject=ENCODED_NEWLINE, text=".\r\nFrom me\r\n..")
@example(name='"evil@example.org" <evil@example.org>, ', subject="a\tb", text="")
@example(name="a" * 300, subject="ä" * 300, text="x" * 2000)
def test_nothing_breaks_out_of_a_header(name: str, subject: str, text: str) -> None:
    """Whatever a name, subject or text holds: it is refused, or the mail has our headers only, and reads as it was."""
    try:
        content = written(a_mail(name=name, subject=subject, text=text, link="https://example.com/u/1"))
    except ValueError:
        return
    content.decode("ascii")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    message = parsed(content)
    assert sorted(message.keys()) == sorted(HEADERS + UNSUBSCRIBE_HEADERS)
    assert [box.addr_spec for box in message["To"].addresses] == ["anna@example.com"]
    assert [box.addr_spec for box in message["From"].addresses] == [SENDER.address]
    assert message["Subject"] == subject
    assert name_in_to(content) == name.strip(" ")


@pytest.mark.parametrize("character", ["\n", "\r", "\x00", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"])
def test_control_characters_are_refused_with_their_place(character: str) -> None:
    with pytest.raises(ValueError, match=r"the subject: expected text without line breaks .* at position 2"):
        written(a_mail(subject=f"ab{character}cd"))
    with pytest.raises(ValueError, match=r"the name: expected text without line breaks .* at position 2"):
        Mailbox("anna@example.com", f"ab{character}cd")


@pytest.mark.parametrize("subject", ["", "   ", "x" * 301])
def test_an_empty_or_endless_subject_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="the subject: expected"):
        written(a_mail(subject=subject))


# ---- addresses


@pytest.mark.parametrize(
    "address",
    [
        "", " ", "anna", "anna@", "@example.com", "anna@example..com", "anna@-x.com", "an na@example.com",
        "anna@example.com, bob@example.com", "anna@example.com;bob@example.com", "anna@example.com bob@example.com",
        "Anna <anna@example.com>", '"bob@example.com" <anna@example.com>', "<anna@example.com>", "anna@bob@example.com",
        "friends: anna@example.com, bob@example.com;", "anna@example.com (bob@example.com)", '"a b"@example.com',
        "anna@example.com\n", "anna@example.com\r\nBcc: bob@example.com", "anna@exam\x00ple.com", "anna@[127.0.0.1]",
        "änna@example.com", "anna@example.com\u2028", "=?utf-8?q?anna=40example.com?=", "anna@ex\uff20mple.com",
        "a" * 65 + "@example.com", "a@" + "b" * 64 + ".com", "a@" + ".".join(["b" * 60] * 5), ".anna@example.com",
    ],
)  # fmt: skip
def test_what_is_not_exactly_one_bare_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected exactly one e-mail address such as name@example.com, got"):
        Mailbox(address)


@pytest.mark.parametrize(
    ("written_as", "address"),
    [
        ("anna@example.com", "anna@example.com"),
        (" o'neil+x%y=z@mail.example.co.uk ", "o'neil+x%y=z@mail.example.co.uk"),
        ("anna@bücher.example", "anna@xn--bcher-kva.example"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_one_address_is_taken_and_its_domain_made_ascii(written_as: str, address: str) -> None:
    assert Mailbox(written_as).address == address


@given(st.text(max_size=80) | st.from_regex(r"[a-z@.,;<>\"() \\\[\]]{0,60}", fullmatch=True) | st.emails())
def test_an_address_that_is_taken_reads_back_as_that_one_address(text: str) -> None:
    try:
        box = Mailbox(text)
    except ValueError:
        return
    assert email.utils.getaddresses([box.address]) == [("", box.address)]
    assert box.address.isascii() and box.address.isprintable() and " " not in box.address


@pytest.mark.parametrize("text", ["Anna <a@example.com>", '"Anna" <a@example.com>', "Anna<a@example.com>"])
def test_a_sender_may_have_a_name(text: str) -> None:
    assert mailbox(text) == Mailbox("a@example.com", "Anna")


@pytest.mark.parametrize(
    "text", ["a@example.com, Bob <b@example.com>", "A <a@example.com> <b@example.com>", "A <a@example.com", "a; <b@c.d>"]
)
def test_a_sender_is_one_mailbox(text: str) -> None:
    with pytest.raises(ValueError, match="expected exactly one"):
        mailbox(text)


# ---- settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, Encryption.AUTO, None, None)),
        ("smtp://u%40x:p%2Fw@mail.example", ("mail.example", 587, Encryption.REQUIRED, "u@x", "p/w")),
        ("smtp://u:p@localhost:2525?starttls=never", ("localhost", 2525, Encryption.NEVER, "u", "p")),
        ("smtps://u:p@[::1]", ("::1", 465, Encryption.TLS, "u", "p")),
    ],
)
def test_an_smtp_url_says_where_and_how(url: str, expected: tuple[Any, ...]) -> None:
    server = smtp_server(url)

    assert (server.host, server.port, server.encryption, server.user, server.password) == expected


@pytest.mark.parametrize(
    "url",
    [
        "SECRET", "http://SECRET@mail.example", "smtp://", "smtp://user:SECRET@", "smtp://user:SECRET@host:0",
        "smtp://user:SE/CRET@mail.example", "smtp://user:SE#CRET@mail.example", "smtp://user:SE?CRET@mail.example",
        "smtp://user:SECRET@mail.example:SECRET", "smtp://user@mail.example", "smtp://:SECRET@mail.example",
        "smtps://user:SECRET@mail.example?starttls=never", "smtp://mail.example?starttls=SECRET",
        "smtp://mail.example?connections=0", "smtp://mail.example?connections=SECRET", "smtp://mail.example?x=SECRET",
        "smtp://user:SECRET@mail.example/path", "smtp://user:SEC RET@mail.example", "smtp://user:SECRET@-mail",
        "smtp://mail.example?starttls=never&starttls=never", "smtp://user:SECRET@[::1", "smtp://user:SECRET@a\nb",
    ],
)  # fmt: skip
def test_a_wrong_smtp_url_is_refused_at_start_and_not_shown(configure: Any, url: str) -> None:
    configure(SMTP_URL=url)

    with pytest.raises(SettingsError) as refused:
        settings()

    assert "SMTP_URL=a secret value: " in str(refused.value)
    assert "SEC" not in str(refused.value) and "CRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAIL_FROM", "a@example.com, b@example.com", "MAIL_FROM='a@example.com, b@example.com': expected exactly one"),
        ("PUBLIC_URL", "example.com", "PUBLIC_URL='example.com': expected https://host"),
        ("PUBLIC_URL", "https://example.com/?x=1", "expected https://host"),
        ("PUBLIC_URL", "https://example.com/>\n", "expected https://host"),
        ("JOB_QUEUE_SIGNING_KEY", "short", "JOB_QUEUE_SIGNING_KEY=a secret value: expected at least 16 characters"),
        ("JOB_QUEUE_DEMO_MAIL_FAILURES", "0.6", "JOB_QUEUE_DEMO_MAIL_FAILURES='0.6'"),
        ("JOB_QUEUE_DEMO_MAIL_FAILURES", "nan", "JOB_QUEUE_DEMO_MAIL_FAILURES='nan'"),
    ],
)
def test_a_wrong_mail_setting_is_refused_at_start(configure: Any, name: str, value: str, message: str) -> None:
    configure(**{name: value})

    with pytest.raises(SettingsError, match=message.replace("?", r"\?")):
        settings()


def test_secrets_are_not_shown_by_the_settings(configure: Any) -> None:
    configure(SMTP_URL="smtp://user:SECRET@mail.example", JOB_QUEUE_SIGNING_KEY="SECRETSECRETSECRET")

    assert "SECRET" not in repr(settings()) and "SECRET" not in str(settings().model_dump())
    assert "SECRET" not in repr(smtp_server("smtp://user:SECRET@mail.example"))


# ---- unsubscribe links


def test_an_unsubscribe_link_names_its_customer_and_no_other(configure: Any) -> None:
    configure(JOB_QUEUE_SIGNING_KEY="a key for this test only", PUBLIC_URL="https://example.com/crm/")

    link = unsubscribe_link("Kunde/Ä 1")

    assert link.startswith("https://example.com/crm/api/unsubscribe/")
    token = link.rpartition("/")[2]
    assert customer_of(token) == "Kunde/Ä 1"
    other_name = unsubscribe_token("c2").partition(".")[0]
    assert customer_of(f"{other_name}.{token.partition('.')[2]}") is None


@given(st.text(max_size=60))
def test_a_made_up_unsubscribe_token_is_nobodys(token: str) -> None:
    os.environ["JOB_QUEUE_SIGNING_KEY"] = "a key for this test only"
    settings.cache_clear()
    try:
        assert customer_of(token) is None
    finally:
        del os.environ["JOB_QUEUE_SIGNING_KEY"]
        settings.cache_clear()


def test_without_a_signing_key_one_is_made_once_and_kept_for_its_owner_only(configure: Any, tmp_path: Path) -> None:
    configure(JOB_QUEUE_DATA_DIR=tmp_path / "data")
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(unsubscribe_token("c1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    key_file = tmp_path / "data" / KEY_FILE
    assert len(set(tokens)) == 1 and len(tokens) == 8
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(key_file.parent) == [KEY_FILE]


def test_a_spoilt_key_file_is_said_to_be_one(configure: Any, tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("half a k")
    configure(JOB_QUEUE_DATA_DIR=tmp_path)

    with pytest.raises(SigningKeyError, match="expected 64 hexadecimal digits in .*, got 8 bytes"):
        unsubscribe_token("c1")


# ---- the mail server


def send(pool_: SmtpPool, *, recipient: str = "anna@example.com", content: bytes = CONTENT) -> Any:
    return pool_.send(SENDER.address, recipient, content)


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
    async def main() -> None:
        silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
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
        await asyncio.to_thread(reached.wait, 10)
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


# ---- log-in and encryption


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
    port = free_port()
    with pytest.raises(SmtpError, match=f"SMTP server 127.0.0.1:{port}: connection failed: .*"):
        send_to(f"smtp://127.0.0.1:{port}")


# ---- files, texts, demonstrations


def test_a_file_is_written_once_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mail.eml"

    assert write_once(path, b"first")
    assert not write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == ["mail.eml"]


def test_a_file_system_without_links_gets_its_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_links)

    assert write_once(tmp_path / "mail.eml", b"first")
    assert not write_once(tmp_path / "mail.eml", b"second")
    assert (tmp_path / "mail.eml").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["mail.eml"]


def test_amounts_and_texts_are_written_for_people() -> None:
    from decimal import Decimal

    assert money(Decimal("1234.5")) == "$1,234.50"
    assert [percent(Decimal(share)) for share in ("10.00", "12.50", "100", "0.05")] == ["10%", "12.5%", "100%", "0.05%"]
    assert paragraphs("\na\r\nb\n \n\nc\n") == [["a", "b"], ["c"]]
    assert paragraphs(" \n ") == []


@given(share=st.floats(0, 0.5), message_id=st.text(), retries=st.integers(0, 5))
def test_a_demonstrations_failures_are_the_same_each_time_and_never_the_last_attempt(
    share: float, message_id: str, retries: int
) -> None:
    def answers() -> list[bool]:
        found = []
        for attempt in range(1, retries + 2):
            token = running_job.set(CurrentJob("id", "send_promotion", attempt, retries, lambda *_: None))
            found.append(fails_for_demo(message_id, share))
            running_job.reset(token)
        return found

    assert answers() == answers()
    assert answers()[-1] is False
    assert fails_for_demo(message_id, share) is False


def test_a_demonstrations_failures_have_the_share_asked_for() -> None:
    token = running_job.set(CurrentJob("id", "send_promotion", 1, 3, lambda *_: None))
    failed = sum(fails_for_demo(f"mail {number}", 0.2) for number in range(10_000))
    running_job.reset(token)

    assert 1800 < failed < 2200
