"""Every hot statement is one `.sql` file here, named for what it does, with named parameters; `statement` reads it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString

#: Files that are no statements, but parts of some.
_SHARED: tuple[LiteralString, ...] = ("found_by_text", "next_lane")


@cache
def statement(name: str) -> LiteralString:
    """The text of `models/sql/<name>.sql`, with what several statements share put where they say so."""
    return with_shared(_read(name))


def with_shared(text: LiteralString) -> LiteralString:
    """The statement with the shared parts that its comments name, such as `/* found_by_text */`."""
    for name in _SHARED:
        text = text.replace(f"/* {name} */", _read(name))
    return text


def _read(name: str) -> LiteralString:
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
