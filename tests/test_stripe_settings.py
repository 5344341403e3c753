"""The settings of payments: wrong ones are refused, and no secret is shown."""

from __future__ import annotations

from typing import Any

import pytest

from models.settings import Settings, SettingsError, settings

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_API_KEY", "pk_live_1234567890"),
        ("STRIPE_API_KEY", "sk_live_12345 67890"),
        ("STRIPE_API_BASE", "http://stripe.example.com"),
        ("STRIPE_API_BASE", "https://user:geheim@api.stripe.com"),
        ("STRIPE_API_BASE", "ftp://geheim"),
        ("STRIPE_API_BASE", "https://api.stripe.com/?key=geheim"),
        ("PAYMENT_CURRENCY", "dollar"),
    ],
)
def test_wrong_settings_are_refused_and_secrets_not_shown(name: str, value: str, configure: Any) -> None:
    configure(**{name: value})
    with pytest.raises(SettingsError, match=f"{name}=.*expected") as refused:
        settings()
    assert "geheim" not in str(refused.value) and "67890" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://api.stripe.com/", "http://127.0.0.1:8420", "http://localhost:1", "http://[::1]:12111"]
)
def test_stripe_may_be_reached_encrypted_or_on_loopback(url: str) -> None:
    assert Settings(STRIPE_API_BASE=url).stripe_api_base == url.rstrip("/")
