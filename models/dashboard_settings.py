"""The settings of the dashboard's sign-in: a shared password, or OpenID Connect, or neither; a part of `Settings`."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from models.passwords import check_hash

#: What the signature of a cookie needs to be out of reach: 256 bits.
_COOKIE_SECRET_LENGTH = 32
#: One address, or everybody of a domain, or everybody the provider lets in.
_WHO = re.compile(r"[^@\s,]+@[^@\s,]+|@[^@\s,]+|\*")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

Addresses = Annotated[tuple[str, ...], NoDecode]


class DashboardSettings(BaseSettings):
    """Who may look at the dashboard, and who may act."""

    dashboard_password_hash: SecretStr | None = Field(
        None,
        alias="DASHBOARD_PASSWORD_HASH",
        description="Hash of the operators' shared password for the dashboard; `jobs password` makes it.",
    )
    dashboard_viewer_password_hash: SecretStr | None = Field(
        None,
        alias="DASHBOARD_VIEWER_PASSWORD_HASH",
        description="Hash of another shared password, for those who only look.",
    )
    dashboard_oidc_client_id: str | None = Field(
        None, alias="DASHBOARD_OIDC_CLIENT_ID", description="OpenID Connect instead of a password: this client's id."
    )
    dashboard_oidc_client_secret: SecretStr | None = Field(
        None, alias="DASHBOARD_OIDC_CLIENT_SECRET", description="The client's secret."
    )
    dashboard_oidc_metadata_url: str | None = Field(
        None,
        alias="DASHBOARD_OIDC_METADATA_URL",
        description="The provider's https://.../.well-known/openid-configuration. "
        "The provider is to be told PUBLIC_URL/oauth2callback.",
    )
    dashboard_cookie_secret: SecretStr | None = Field(
        None,
        alias="DASHBOARD_COOKIE_SECRET",
        description="Signs the cookies of OpenID Connect; without it a key is made from JOB_QUEUE_SIGNING_KEY.",
    )
    dashboard_operators: Addresses = Field(
        (),
        alias="DASHBOARD_OPERATORS",
        description="Who may act, by e-mail that the provider has verified, separated by commas; "
        "@example.com is everybody there.",
    )
    dashboard_operator_claim: str | None = Field(
        None,
        alias="DASHBOARD_OPERATOR_CLAIM",
        description="Or by a claim, as name=value, for example groups=operators.",
    )
    dashboard_viewers: Addresses = Field(
        (),
        alias="DASHBOARD_VIEWERS",
        description="Who may look, likewise; * is everybody the provider lets in.",
    )

    @field_validator("dashboard_password_hash", "dashboard_viewer_password_hash", mode="before")
    @classmethod
    def _check_hash(cls, value: object) -> object:
        if isinstance(value, str):
            return check_hash(value.strip()) if value.strip() else None
        return value

    @field_validator("dashboard_cookie_secret", mode="before")
    @classmethod
    def _check_cookie_secret(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            if value and len(value) < _COOKIE_SECRET_LENGTH:
                raise ValueError(f"expected at least {_COOKIE_SECRET_LENGTH} characters, got {len(value)}")
        return value or None

    @field_validator("dashboard_oidc_client_id", "dashboard_oidc_client_secret", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("dashboard_oidc_metadata_url", mode="before")
    @classmethod
    def _check_metadata_url(cls, value: object) -> object:
        if not isinstance(value, str) or not value.strip():
            return None
        url = urlsplit(value.strip())
        # Over plain HTTP anybody on the way could say who signed in.
        if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)):
            raise ValueError("expected https://... (http:// only on this machine)")
        return value.strip()

    @field_validator("dashboard_operators", "dashboard_viewers", mode="before")
    @classmethod
    def _split_addresses(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("dashboard_operators", "dashboard_viewers")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if not _WHO.fullmatch(part):
                raise ValueError(f"expected e-mail addresses or @domains separated by commas, got {part!r}")
        return value

    @field_validator("dashboard_operators")
    @classmethod
    def _not_everybody(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value:
            raise ValueError("expected e-mail addresses or @domains, got '*': not everybody may act")
        return value

    @field_validator("dashboard_operator_claim")
    @classmethod
    def _check_claim(cls, value: str | None) -> str | None:
        if not value:
            return None
        name, separator, wanted = (part.strip() for part in value.partition("="))
        if not (name and separator and wanted):
            raise ValueError("expected name=value, for example groups=operators")
        return f"{name}={wanted}"

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        oidc = {
            "DASHBOARD_OIDC_CLIENT_ID": self.dashboard_oidc_client_id,
            "DASHBOARD_OIDC_CLIENT_SECRET": self.dashboard_oidc_client_secret,
            "DASHBOARD_OIDC_METADATA_URL": self.dashboard_oidc_metadata_url,
        }
        missing = [name for name, value in oidc.items() if value is None]
        if missing and len(missing) < len(oidc):
            raise ValueError(f"OpenID Connect needs all of {', '.join(oidc)}; missing: {', '.join(missing)}")
        passwords = self.dashboard_password_hash is not None or self.dashboard_viewer_password_hash is not None
        if not missing and passwords:
            raise ValueError(
                "expected one way to sign in, got two: unset DASHBOARD_OIDC_... or the hashes of the shared passwords"
            )
        if not missing and not (self.dashboard_operators or self.dashboard_operator_claim or self.dashboard_viewers):
            raise ValueError(
                "with OpenID Connect somebody must be let in: "
                "set DASHBOARD_OPERATORS, DASHBOARD_OPERATOR_CLAIM or DASHBOARD_VIEWERS"
            )
        return self
