"""The settings of mail, and the signed links in it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.settings import SettingsError, settings
from models.signing import KEY_FILE, SigningKeyError
from models.smtp_url import Encryption, smtp_server
from models.unsubscribe import customer_of, unsubscribe_link, unsubscribe_token


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


def test_an_unsubscribe_link_names_its_customer_and_no_other(configure: Any) -> None:
    configure(JOB_QUEUE_SIGNING_KEY="a key for this test only", PUBLIC_URL="https://example.com/crm/")

    link = unsubscribe_link("Kunde/Ä 1")

    assert link.startswith("https://example.com/crm/api/unsubscribe/")
    token = link.rpartition("/")[2]
    assert customer_of(token) == "Kunde/Ä 1"
    other_name = unsubscribe_token("c2").partition(".")[0]
    assert customer_of(f"{other_name}.{token.partition('.')[2]}") is None


@examples(deadline=None)
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
