"""Which e-mail addresses are taken, and which are refused."""

from __future__ import annotations

import email
import email.utils

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.mailbox import Mailbox, mailbox


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


@pytest.mark.parametrize("domain", ["straße.example", "STRAẞE.example", "βόλος.example", "na\u200cme.example"])
def test_a_domain_that_would_become_another_one_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match=r"two standards read differently, got 'anna@.*; write it in its ASCII form"):
        Mailbox(f"anna@{domain}")


@examples(deadline=None)
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
    "text",
    ["a@example.com, Bob <b@example.com>", "A <a@example.com> <b@example.com>", "A <a@example.com", "a; <b@c.d>"],
)
def test_a_sender_is_one_mailbox(text: str) -> None:
    with pytest.raises(ValueError, match="expected exactly one"):
        mailbox(text)
