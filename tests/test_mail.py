"""A mail as it is written: text, headers that nothing breaks out of, files, failures for demonstrations."""

from __future__ import annotations

import email
import email.utils
import os
from decimal import Decimal
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.mailbox import Mailbox
from models.write_once import write_once
from tasks.context import CurrentJob, running_job
from tasks.services.mime import Mail, mail_bytes
from tasks.services.outbox import fails_for_demo
from tasks.services.render import money, paragraphs, percent

SENDER = Mailbox("hello@dirtfree.example", "Dirt Free")
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"]
UNSUBSCRIBE_HEADERS = ["List-Unsubscribe", "List-Unsubscribe-Post"]
#: Decoded by the standard library when it writes a header, newline and all.
ENCODED_NEWLINE = "=?utf-8?q?hi=0D=0ABcc=3A_evil=40example.org?="


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


@examples(deadline=None)
@given(
    name=st.text(max_size=120) | st.just(ENCODED_NEWLINE) | st.from_regex(r"[ ,;:<>@\"()a-z.\\=?]+", fullmatch=True),
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


@pytest.mark.parametrize("character", [*"\n\r\x00\x0b\x1b\x7f\x85\u2028\u2029", "\ud800"])
def test_control_characters_are_refused_with_their_place(character: str) -> None:
    with pytest.raises(ValueError, match=r"the subject: expected text without line breaks .* at position 2"):
        written(a_mail(subject=f"ab{character}cd"))
    with pytest.raises(ValueError, match=r"the name: expected text without line breaks .* at position 2"):
        Mailbox("anna@example.com", f"ab{character}cd")


@pytest.mark.parametrize("subject", ["", "   ", "x" * 301])
def test_an_empty_or_endless_subject_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="the subject: expected"):
        written(a_mail(subject=subject))


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
    assert money(Decimal("1234.5")) == "$1,234.50"
    assert [percent(Decimal(share)) for share in ("10.00", "12.50", "100", "0.05")] == ["10%", "12.5%", "100%", "0.05%"]
    assert paragraphs("\na\r\nb\n \n\nc\n") == [["a", "b"], ["c"]]
    assert paragraphs(" \n ") == []


@examples(deadline=None)
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
