"""The few pages that customers see: small, whole in themselves, and telling nothing to whoever guesses links."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse

from models.mailbox import mailbox
from models.settings import settings

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem; color: #1d2733; }
h1 { font-size: 1.5rem; }
button { font: inherit; padding: .6rem 1.4rem; border: 0; border-radius: .4rem; background: #0b5cad; color: #fff; }
button:focus-visible, input:focus-visible, textarea:focus-visible { outline: 3px solid #f2a33a; outline-offset: 2px; }
textarea { font: inherit; width: 100%; box-sizing: border-box; }
input:not([type=radio]) {
  font: inherit; width: 100%; max-width: 22rem; box-sizing: border-box; padding: .5rem .7rem;
  border: 1px solid #8a97a5; border-radius: .4rem;
}
fieldset { border: 0; padding: 0; margin: 0 0 1rem; }
label { display: inline-block; padding: .3rem .8rem .3rem 0; }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #e6e9ed; } }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Nothing is loaded, nothing runs, nobody may frame it, and its form goes only to where it came from.
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(title: str, body: str, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page of the company's.

    Args:
        title: plain text.
        body: HTML of ours; what is not must be escaped already.
    """
    company = escape(mailbox(settings().mail_from).name)
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><p>{company}</p><h1>{escape(title)}</h1>{body}</main></body></html>",
        status,
        {"Content-Security-Policy": _POLICY, **(headers or {})},
    )


def no_such_link() -> HTMLResponse:
    """What is shown for a link that is none of ours; it says nothing about who we know."""
    return page(
        "This link does not work",
        "<p>It may have been cut off. Please use the whole link from the mail, or answer the mail.</p>",
        404,
    )
