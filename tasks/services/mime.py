"""A mail as the bytes that go to the mail server or into a file: text, HTML, and headers that nothing can break out of.

The standard library's own header writing is not used for what customers and colleagues typed: Python 3.11.7 decodes an
encoded word in a name or subject and writes the newline it finds there, and breaks links of more than 78 characters
into encoded words that no mail program follows. Here a text is written as it stands when it is plain ASCII words, and
as UTF-8 encoded words (RFC 2047) otherwise; addresses, ids and links are written as they are.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime, localtime
from typing import Any

from models.mailbox import Mailbox, header_text

#: RFC 5322: lines should have at most 78 characters, and must not have more than 998.
LINE_LENGTH = 78
LONGEST_LINE = 998
#: 39 bytes make 52 characters of base64 and an encoded word of 64: it fits behind `Subject: ` (a line may have 76).
_ENCODED_WORD_BYTES = 39
_PLAIN_WORDS = re.compile(r"[!-~]{1,60}(?: [!-~]{1,60})*")
#: A display name without quotes: words of these (RFC 5322 atoms). Names with a comma, an @ or a dot are encoded: then
#: no mail server can take a part of it for an address.
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,60}(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,60})*")


@dataclass(frozen=True, slots=True)
class Mail:
    """What one customer is to read; `unsubscribe_link` puts the headers for it (RFC 2369, RFC 8058)."""

    to: Mailbox
    subject: str
    text: str
    html: str
    unsubscribe_link: str | None = None


def mail_bytes(mail: Mail, *, sender: Mailbox, message_id: str) -> bytes:
    """The mail in wire format: ASCII throughout, CRLF line ends, one From and one To.

    Args:
        message_id: the part before the @; the sender's domain comes behind it.

    Raises:
        ValueError: when the subject is empty, too long, or holds a control character.
    """
    if not mail.subject.strip():
        raise ValueError("the subject: expected text, got nothing")
    message = EmailMessage(policy=_POLICY)
    message["From"] = _mailbox(sender)
    message["To"] = _mailbox(mail.to)
    message["Subject"] = _words(header_text(mail.subject, "the subject"), _PLAIN_WORDS)
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{message_id}@{sender.domain}>"
    if mail.unsubscribe_link is not None:
        message["List-Unsubscribe"] = f"<{mail.unsubscribe_link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message.as_bytes()


def _mailbox(box: Mailbox) -> str:
    return f"{_words(box.name, _ATOMS)} <{box.address}>" if box.name else box.address


def _words(text: str, plain: re.Pattern[str]) -> str:
    """The text itself if it is plain words; else encoded words, so that a literal `=?...?=` is not decoded either."""
    if plain.fullmatch(text) and "=?" not in text:
        return text
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _ENCODED_WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    words.append(word)
    return " ".join(f"=?utf-8?b?{base64.b64encode(word).decode('ascii')}?=" for word in words)


class _AsWritten(BaseHeader):
    """A header whose value is on the wire as it was given, folded at its spaces and nowhere else."""

    max_count = 1

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        kwds["parse_tree"] = None
        kwds["decoded"] = value

    def fold(self, *, policy: Policy[Any]) -> str:
        lines = [f"{self.name}:"]
        for word in str(self).split(" "):
            if len(lines[-1]) + 1 + len(word) > LINE_LENGTH and not lines[-1].endswith(":"):
                lines.append("")
            lines[-1] += f" {word}"
        folded = policy.linesep.join([*lines, ""])
        if max(len(line) for line in lines) > LONGEST_LINE or not folded.isascii():
            raise ValueError(
                f"{self.name}: expected ASCII words of at most {LONGEST_LINE} characters, got {str(self)!r:.100}"
            )
        return folded


# The type's stub asks for a parser, which a header that is never read back does not need.
_headers = HeaderRegistry(default_class=_AsWritten, use_default_map=False)  # type: ignore[arg-type]
#: 7bit: quoted-printable or base64 where the text is not ASCII, so that any server takes the bytes as they are.
_POLICY = SMTP.clone(cte_type="7bit", header_factory=_headers)
