"""The texts of mails: Jinja2 templates in `tasks/services/templates`, each as `<name>.txt.j2` and `<name>.html.j2`.

What customers and colleagues typed is handed over as values and never compiled: `{{ }}` in it comes out as it stands,
and in HTML everything is escaped. A value that a template asks for and does not get is an error.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

#: What the guide counts values in.
CURRENCY = "$"


def render(name: str, **values: Any) -> tuple[str, str]:
    """The text and the HTML of the mail `name`.

    Raises:
        jinja2.UndefinedError: when a template names a value that is not given.
    """
    return _template(f"{name}.txt.j2", values), _template(f"{name}.html.j2", values)


def money(amount: Decimal) -> str:
    """`$1,234.50`."""
    return f"{CURRENCY}{amount:,.2f}"


def percent(share: Decimal) -> str:
    """`12.5%` for 12.50: no zeros behind the point."""
    return f"{share:f}".rstrip("0").rstrip(".") + "%" if "." in f"{share:f}" else f"{share:f}%"


def paragraphs(text: str) -> list[list[str]]:
    """Plain text as paragraphs (parted by empty lines) of lines."""
    return [block.splitlines() for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip()) if block]


def _template(file_name: str, values: dict[str, Any]) -> str:
    # Compiled once a process: the environment keeps templates, and does not look at the files again.
    return _environment.get_template(file_name).render(values)


def _is_html(file_name: str | None) -> bool:
    return file_name is None or not file_name.endswith(".txt.j2")


_environment = SandboxedEnvironment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=_is_html,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_environment.filters.update(money=money, percent=percent, paragraphs=paragraphs)
