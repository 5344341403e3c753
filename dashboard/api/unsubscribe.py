"""Where the link in a promotion leads: no more of them. No token is asked for, as the link is one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from starlette.responses import HTMLResponse

from dashboard.api.page_routes import page_answers, page_router
from dashboard.api.pages import no_such_link, page
from models.unsubscribe import customer_of, unsubscribe

open_to_all = page_router()

LinkToken = Annotated[str, Path(description="The last part of the link in the mail.")]


@open_to_all.get(
    "/unsubscribe/{token}",
    operation_id="askToUnsubscribe",
    summary="The page that asks",
    responses=page_answers(200, 404, 503),
)
def ask_to_unsubscribe(token: LinkToken) -> HTMLResponse:
    """A page with one button. Looking at it changes nothing: mail scanners follow every link."""
    if customer_of(token) is None:
        return no_such_link()
    return page(
        "No more offers by e-mail?",
        "<p>We will not send you promotions any more. Mails about your own appointments and payments still come.</p>"
        '<form method="post"><button>Unsubscribe</button></form>',
    )


@open_to_all.post(
    "/unsubscribe/{token}",
    operation_id="unsubscribe",
    summary="Unsubscribe",
    responses=page_answers(200, 404, 503),
)
def do_unsubscribe(token: LinkToken) -> HTMLResponse:
    """Unsubscribes; by the page's button, or by a mail program's one click (RFC 8058), whose body says nothing more."""
    if not unsubscribe(token):
        return no_such_link()
    return page("You are unsubscribed", "<p>We will not send you promotions any more.</p>")
