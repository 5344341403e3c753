"""The settings of what jobs reach outside: mail, text messages, Stripe, the CRM; a part of `Settings`."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from models.api_base import api_base
from models.apprise_urls import apprise_urls, phone_template
from models.mailbox import mailbox
from models.money import CURRENCY_PATTERN
from models.quiet_hours import parse_span, time_zone
from models.setting_paths import OptionalSettingPath
from models.smtp_url import smtp_server

#: Somebody else's token: whatever can stand in a header.
_HEADER_TOKEN = re.compile(r"[\x21-\x7e]{0,4000}")
#: Secret and restricted keys; a publishable one (pk_...) may not charge.
_STRIPE_KEY = re.compile(r"[sr]k_[A-Za-z0-9_]{5,300}")
#: It goes into mail headers between angle brackets; 200 leaves room for what is put behind it.
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
_PUBLIC_URL_LENGTH = 200


class ServiceSettings(BaseSettings):
    """How the company writes to its customers and staff, is paid, and learns what its CRM knows."""

    smtp_url: SecretStr | None = Field(
        None,
        alias="SMTP_URL",
        description="Mail server: smtp://user:password@host:port or smtps://..., and behind a question mark "
        "starttls (required, auto or never) and connections (5). "
        "Without it mails are .eml files in the data folder's outbox.",
    )
    mail_from: str = Field(
        "Dirt Free <hello@dirtfree.example>",
        alias="MAIL_FROM",
        description="Sender of all mails; its name is the company's name in them.",
    )
    mail_per_second: float | None = Field(
        None,
        gt=0,
        le=100_000,
        alias="MAIL_PER_SECOND",
        description="Mails that all workers together hand to the mail server in a second, evenly spread; "
        "without it as many as it takes.",
    )
    notify_urls: SecretStr | None = Field(
        None,
        alias="NOTIFY_URLS",
        description="Where staff is notified: Apprise URLs (slack://..., mailto://..., json://...), separated by "
        "commas.",
    )
    sms_url: SecretStr | None = Field(
        None,
        alias="SMS_URL",
        description="What sends text messages: an Apprise URL with {phone} in it, such as "
        "twilio://sid:token@+14155550100/{phone}.",
    )
    company_time_zone: str = Field(
        "UTC",
        alias="COMPANY_TIME_ZONE",
        description="The company's time zone, and that of customers who have none of their own.",
    )
    quiet_hours: str = Field(
        "20:00-08:00",
        alias="QUIET_HOURS",
        description="When customers are sent no reminders, by their clock; those who have hours of their own excepted.",
    )
    public_url: str = Field(
        "http://localhost:8501",
        alias="PUBLIC_URL",
        description="Where customers reach this service; links in mails begin with it.",
    )
    stripe_api_key: SecretStr | None = Field(
        None,
        alias="STRIPE_API_KEY",
        description="Secret (sk_...) or restricted (rk_...) key of the Stripe account that payments go to; "
        "without it process_payment fails.",
    )
    stripe_api_base: str = Field(
        "https://api.stripe.com",
        alias="STRIPE_API_BASE",
        description="Where Stripe's API is: https, or http on this machine's loopback, for proxies and tests.",
    )
    payment_currency: str = Field(
        "usd",
        alias="PAYMENT_CURRENCY",
        description="Currency (ISO 4217) of payments whose payload names none.",
    )
    crm_sync_url: str | None = Field(
        None,
        alias="CRM_SYNC_URL",
        description="Base URL of the JSON API that customers and opportunities are synced from, https (http only on "
        "this machine); one inside the company is named in JOB_QUEUE_INTERNAL_HOSTS too.",
    )
    crm_sync_token: SecretStr | None = Field(
        None, alias="CRM_SYNC_TOKEN", description="Bearer token for CRM_SYNC_URL."
    )
    crm_sync_mapping: OptionalSettingPath = Field(
        None,
        alias="CRM_SYNC_MAPPING",
        description="Mapping (TOML) of the CSV files that customers and opportunities are synced from.",
    )
    crm_sync_folder: OptionalSettingPath = Field(
        None, alias="CRM_SYNC_FOLDER", description="Where these CSV files are; without it the mapping's own folder."
    )
    demo_mail_failures: float = Field(
        0.0,
        ge=0,
        le=0.5,
        alias="JOB_QUEUE_DEMO_MAIL_FAILURES",
        description="For demonstrations only: share of attempts at which the outbox fails, never a job's last one.",
    )

    @field_validator("smtp_url", mode="before")
    @classmethod
    def _check_smtp_url(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            if not value:
                return None
            smtp_server(value)
        return value

    @field_validator("notify_urls", mode="before")
    @classmethod
    def _check_notify_urls(cls, value: object) -> object:
        if isinstance(value, str):
            apprise_urls(value)
            return value.strip() or None
        return value

    @field_validator("sms_url", mode="before")
    @classmethod
    def _check_sms_url(cls, value: object) -> object:
        if isinstance(value, str) and value.strip():
            return phone_template(value)
        return value or None

    @field_validator("company_time_zone")
    @classmethod
    def _check_company_time_zone(cls, value: str) -> str:
        return time_zone(value.strip()).key

    @field_validator("quiet_hours")
    @classmethod
    def _check_quiet_hours(cls, value: str) -> str:
        parse_span(value)
        return value.strip()

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        mailbox(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        url = value.strip().rstrip("/")
        if not _PUBLIC_URL.fullmatch(url) or len(url) > _PUBLIC_URL_LENGTH:
            raise ValueError(
                "expected https://host or http://host, with a port or path if need be, no user, no question mark, "
                f"at most {_PUBLIC_URL_LENGTH} characters, all ASCII"
            )
        return url

    @field_validator("crm_sync_url", mode="before")
    @classmethod
    def _check_crm_sync_url(cls, value: object) -> object:
        return api_base(value) if isinstance(value, str) and value.strip() else None

    @field_validator("crm_sync_token", mode="before")
    @classmethod
    def _check_crm_sync_token(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            if not _HEADER_TOKEN.fullmatch(value):
                raise ValueError("expected at most 4,000 visible ASCII characters without spaces")
        return value or None

    @field_validator("crm_sync_mapping", "crm_sync_folder", mode="before")
    @classmethod
    def _check_crm_sync_path(cls, value: object) -> object:
        return value if str(value or "").strip() else None

    @field_validator("stripe_api_key", mode="before")
    @classmethod
    def _check_stripe_api_key(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            if value and not _STRIPE_KEY.fullmatch(value):
                raise ValueError(
                    "expected a secret key (sk_...) or a restricted one (rk_...) from https://dashboard.stripe.com/apikeys"
                )
        return value or None

    @field_validator("stripe_api_base")
    @classmethod
    def _check_stripe_api_base(cls, value: str) -> str:
        return api_base(value)

    @field_validator("payment_currency")
    @classmethod
    def _check_payment_currency(cls, value: str) -> str:
        value = value.strip()
        if not re.fullmatch(CURRENCY_PATTERN, value):
            raise ValueError("expected three letters such as usd or eur (ISO 4217)")
        return value.lower()
