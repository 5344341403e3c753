"""Paths in the settings: absolute, `~` expanded; one that is optional may be left empty, as the others may."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator


def _absolute(value: Path | None) -> Path | None:
    return value.expanduser().absolute() if value is not None else None


def _empty_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _named(value: object) -> object:
    # Path("") is the working directory, wherever that happens to be.
    if _empty_is_none(value) is None:
        raise ValueError("expected a path, got nothing; leave the setting out for the usual one")
    return value


SettingPath = Annotated[Path, BeforeValidator(_named), AfterValidator(_absolute)]
OptionalSettingPath = Annotated[Path | None, BeforeValidator(_empty_is_none), AfterValidator(_absolute)]
