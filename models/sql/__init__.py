"""Every hot statement is one `.sql` file here, named for what it does, with named parameters; `statement` reads it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """The text of `models/sql/<name>.sql`, with what several statements share put where they say so."""
    return with_shared(_read(name))


def with_shared(text: LiteralString) -> LiteralString:
    """The statement with the shared conditions that its comments name: `/* found_by_text */`."""
    return text.replace("/* found_by_text */", _read("found_by_text"))


def _read(name: str) -> LiteralString:
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
