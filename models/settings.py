"""The project's settings: read once from the environment (or a `.env` file), refused at start when wrong."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from models.dashboard_settings import DashboardSettings
from models.internal_hosts import internal_host
from models.service_settings import ServiceSettings
from models.setting_paths import OptionalSettingPath, SettingPath

PROJECT_ROOT = Path(__file__).resolve().parents[1]
#: No secret by its type, and a user and password may be in it.
_MAY_HOLD_SECRETS = {"STRIPE_API_BASE", "CRM_SYNC_URL"}
#: Shorter keys can be guessed.
_SIGNING_KEY_LENGTH = 16
#: What can stand behind "Bearer" in a header; shorter ones can be guessed, over HTTP too.
_TOKEN = re.compile(r"[\x21-\x7e]{16,500}")


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names it, the value and what was expected."""


class Settings(ServiceSettings, DashboardSettings):
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
    data_dir: SettingPath = Field(
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
        description="Hosts inside the company that jobs may reach over HTTP where these settings name them, as "
        "CRM_SYNC_URL does: host or host:port, separated by commas; without it only public addresses.",
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        alias="JOB_QUEUE_WEBHOOK_HOSTS",
        description="Hosts inside the company that customers' webhooks may reach too, in the same form; without it "
        "only public addresses.",
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
    report_dir: OptionalSettingPath = Field(
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

    @field_validator("modules", "internal_hosts", "webhook_hosts", mode="before")
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

    @field_validator("internal_hosts", "webhook_hosts")
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
        ValueError: when the URL names another database system, or cannot be read; no part of what is behind the scheme
            is in the message.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        # Without "://" what is in front may be a user's name and password.
        got = f"the scheme {scheme[:20]!r}" if separator else "something without a scheme"
        raise ValueError(f"expected a postgres:// or postgresql:// URL, got {got}")
    made = f"postgresql://{rest}"
    try:
        host = str(conninfo_to_dict(made).get("host") or "")
    except psycopg.ProgrammingError:  # libpq's message quotes what it cannot read, and that may be the password
        host = "@"
    if "@" in host:
        raise ValueError(
            "expected postgresql://user:password@host:port/database?options, got something that cannot be read as one; "
            "encode special characters in user and password, such as @ as %40 and % as %25, and check the options"
        )
    return made


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
