"""The project's settings: read once from the environment (or a `.env` file), refused at start when wrong."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from models.api_base import api_base
from models.apprise_urls import apprise_urls, phone_template
from models.dashboard_settings import DashboardSettings
from models.internal_hosts import internal_host
from models.mailbox import mailbox
from models.money import CURRENCY_PATTERN
from models.quiet_hours import parse_span, time_zone
from models.smtp_url import smtp_server

PROJECT_ROOT = Path(__file__).resolve().parents[1]
#: No secret by its type, and a user and password may be in it.
_MAY_HOLD_SECRETS = {"STRIPE_API_BASE", "CRM_SYNC_URL"}
#: Shorter keys can be guessed.
_SIGNING_KEY_LENGTH = 16
#: What can stand behind "Bearer" in a header; shorter ones can be guessed, over HTTP too.
_TOKEN = re.compile(r"[\x21-\x7e]{16,500}")
#: Somebody else's token: whatever can stand in a header.
_HEADER_TOKEN = re.compile(r"[\x21-\x7e]{0,4000}")
#: Secret and restricted keys; a publishable one (pk_...) may not charge.
_STRIPE_KEY = re.compile(r"[sr]k_[A-Za-z0-9_]{5,300}")
#: It goes into mail headers between angle brackets; 200 leaves room for what is put behind it.
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
_PUBLIC_URL_LENGTH = 200


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names it, the value and what was expected."""


class Settings(DashboardSettings):
    """Every setting, its default and its bounds. Names in the environment are the aliases."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    database_url: SecretStr | None = Field(
        None,
        alias="DATABASE_URL",
        description="PostgreSQL to use; without it an embedded one starts in the data folder.",
    )
    listen_url: SecretStr | None = Field(
        None,
        alias="JOB_QUEUE_LISTEN_URL",
        description="Direct connection for LISTEN where DATABASE_URL goes through a pooler.",
    )
    data_dir: Path = Field(
        PROJECT_ROOT / ".data",
        alias="JOB_QUEUE_DATA_DIR",
        description="Where the embedded PostgreSQL, the outbox and Prefect's local state live.",
    )
    persistence: bool = Field(
        True,
        alias="JOB_QUEUE_PERSISTENCE",
        description="false: one throw-away embedded PostgreSQL per process tree, without fsync, gone at the end.",
    )
    concurrency: int = Field(
        3, ge=1, le=64, alias="JOB_QUEUE_CONCURRENCY", description="Batches a worker runs at once."
    )
    batch_size: int = Field(
        50, ge=1, le=1000, alias="JOB_QUEUE_BATCH_SIZE", description="Jobs of one batch that run at once."
    )
    poll_interval_ms: int = Field(
        5000,
        ge=100,
        le=3_600_000,
        alias="JOB_QUEUE_POLL_INTERVAL",
        description="Milliseconds between looks for due jobs when no notification comes.",
    )
    fair_every: int = Field(
        10,
        ge=2,
        le=1000,
        alias="JOB_QUEUE_FAIR_EVERY",
        description="Every n-th claim serves the longest-waiting (type, priority) lane, whatever its priority.",
    )
    grace_period: float = Field(
        20.0,
        ge=0,
        le=3600,
        alias="JOB_QUEUE_GRACE_PERIOD",
        description="Seconds that running jobs are given to end after SIGTERM before they go back to pending.",
    )
    modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (), alias="JOB_QUEUE_MODULES", description="Further modules with processors, separated by commas."
    )
    internal_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        alias="JOB_QUEUE_INTERNAL_HOSTS",
        description="Hosts inside the company that any job may reach over HTTP, customers' webhooks included: host or "
        "host:port, separated by commas; without it only public addresses.",
    )
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
    signing_key: SecretStr | None = Field(
        None,
        alias="JOB_QUEUE_SIGNING_KEY",
        description="Signs the links in mails and webhooks, one for all machines; "
        "without it one is kept in the data folder.",
    )
    admin_api_token: SecretStr | None = Field(
        None,
        alias="ADMIN_API_TOKEN",
        description="Bearer token of the HTTP API, to look and to act; without it nobody may act.",
    )
    admin_api_read_token: SecretStr | None = Field(
        None,
        alias="ADMIN_API_READ_TOKEN",
        description="Bearer token of the HTTP API only to look: jobs, figures, metrics.",
    )
    cron_secret: SecretStr | None = Field(
        None,
        alias="CRON_SECRET",
        description="Bearer token of the two cron endpoints, and of nothing else; without it they are closed.",
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
    crm_sync_mapping: Path | None = Field(
        None,
        alias="CRM_SYNC_MAPPING",
        description="Mapping (TOML) of the CSV files that customers and opportunities are synced from.",
    )
    crm_sync_folder: Path | None = Field(
        None, alias="CRM_SYNC_FOLDER", description="Where these CSV files are; without it the mapping's own folder."
    )
    demo_mail_failures: float = Field(
        0.0,
        ge=0,
        le=0.5,
        alias="JOB_QUEUE_DEMO_MAIL_FAILURES",
        description="For demonstrations only: share of attempts at which the outbox fails, never a job's last one.",
    )
    report_dir: Path | None = Field(
        None,
        alias="REPORT_DIR",
        description="Folder of the reports, one that all workers share; without it, reports in the data folder.",
    )
    reports_kept: int = Field(
        60, ge=1, le=10_000, alias="REPORTS_KEPT", description="Reports that are kept; the oldest go first."
    )
    report_days_kept: int = Field(
        400, ge=1, le=3650, alias="REPORT_DAYS_KEPT", description="Days after which a report goes in any case."
    )

    @field_validator("modules", "internal_hosts", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("modules")
    @classmethod
    def _check_modules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"expected dotted module names separated by commas, got {name!r}")
        return value

    @field_validator("internal_hosts")
    @classmethod
    def _check_internal_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            internal_host(entry)
        return value

    @field_validator("database_url", "listen_url", mode="before")
    @classmethod
    def _check_database_url(cls, value: object) -> object:
        if isinstance(value, str):
            return libpq_url(value) if value.strip() else None
        return value

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

    @field_validator("signing_key", mode="before")
    @classmethod
    def _check_signing_key(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            if value and len(value) < _SIGNING_KEY_LENGTH:
                raise ValueError(
                    f"expected at least {_SIGNING_KEY_LENGTH} characters, got {len(value)}; "
                    "make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
                )
        return value or None

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

    @field_validator("admin_api_token", "admin_api_read_token", "cron_secret", mode="before")
    @classmethod
    def _check_token(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            if value and not _TOKEN.fullmatch(value):
                raise ValueError(
                    f"expected 16 to 500 visible ASCII characters without spaces, got {len(value)} characters; "
                    "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
        return value or None

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

    @field_validator("data_dir", "report_dir", "crm_sync_mapping", "crm_sync_folder")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @model_validator(mode="after")
    def _one_token_one_right(self) -> Settings:
        tokens = [token for token in (self.admin_api_token, self.admin_api_read_token, self.cron_secret) if token]
        if len({token.get_secret_value() for token in tokens}) < len(tokens):
            raise ValueError(
                "ADMIN_API_TOKEN, ADMIN_API_READ_TOKEN, CRON_SECRET: expected different ones, got one twice"
            )
        return self

    @model_validator(mode="after")
    def _persistence_needs_no_url(self) -> Settings:
        if not self.persistence and self.database_url is not None:
            raise ValueError(
                "JOB_QUEUE_PERSISTENCE=false starts a throw-away database, but DATABASE_URL names a real one: unset one"
            )
        return self


def libpq_url(url: str) -> str:
    """The URL as libpq takes it, from any postgres:// or postgresql:// form, SQLAlchemy drivers included.

    Raises:
        ValueError: when the URL names another database system.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        # Without "://" what is in front may be a user's name and password.
        got = f"the scheme {scheme[:20]!r}" if separator else "something without a scheme"
        raise ValueError(f"expected a postgres:// or postgresql:// URL, got {got}")
    return f"postgresql://{rest}"


@cache
def settings() -> Settings:
    """The settings of this process, read on first use.

    Raises:
        SettingsError: naming each wrong setting, the value it has and what was expected.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = ["These settings cannot be used:"]
    fields = {name: field.alias or name for name, field in Settings.model_fields.items()}
    # Secrets are named, never shown.
    secret_aliases = {field.alias for field in Settings.model_fields.values() if "SecretStr" in str(field.annotation)}
    secret_aliases |= _MAY_HOLD_SECRETS
    for problem in error.errors():
        if not problem["loc"]:
            lines.append(f"  {problem['msg'].removeprefix('Value error, ')}")
            continue
        alias = fields.get(str(problem["loc"][0]), str(problem["loc"][0]))
        shown = "a secret value" if alias in secret_aliases else repr(problem["input"])
        lines.append(f"  {alias}={shown}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
