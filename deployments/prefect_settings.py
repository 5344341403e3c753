"""`prefect.toml` for processes that start elsewhere: Prefect itself reads it from the working directory only."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from models.settings import PROJECT_ROOT


def prefect_environment() -> dict[str, str]:
    """The lines of `prefect.toml` as environment variables; what the environment sets already is left out."""
    path = PROJECT_ROOT / "prefect.toml"
    if not path.is_file():
        return {}
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    found = {f"PREFECT_{name}": value for name, value in _leaves(tree, ())}
    return {name: value for name, value in found.items() if name not in os.environ}


def apply_prefect_settings() -> None:
    """Puts the project's Prefect settings into this process's environment; call it before importing Prefect."""
    os.environ.update(prefect_environment())


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield "_".join((*path, key)).upper(), str(value).lower() if isinstance(value, bool) else str(value)
