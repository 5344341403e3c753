"""Where the links in mails lead: unsubscribing. No token is asked for, as the link is one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse, Response

from dashboard.api.description import answers
from dashboard.api.pages import page
from dashboard.api.problems import RETRY_AFTER_SECONDS, STORE_ERRORS, log
from models.signing import SigningKeyError
from models.unsubscribe import customer_of, unsubscribe

_AWAY: tuple[type[Exception], ...] = (*STORE_ERRORS, SigningKeyError)


class _PageRoute(APIRoute):
    """A route whose readers are people: where the database is away, they read that too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except _AWAY as error:
                log.warning("request %s: a page cannot be shown: %.300s", request.state.request_id, error)
                return page(
                    "Not at the moment",
                    "<p>This does not work at the moment. Please try again in a few minutes.</p>",
                    503,
                    {"Retry-After": str(RETRY_AFTER_SECONDS)},
                )

        return answered


def _pages(*statuses: int) -> dict[int | str, dict[str, Any]]:
    words = {200: "A page.", 404: "A page: the link is none of ours.", 503: "A page: try again later."}
    content = {"text/html": {"schema": {"type": "string"}}}
    return {status: {"description": words[status], "content": content} for status in statuses}


open_to_all = APIRouter(
    tags=["public"], route_class=_PageRoute, default_response_class=HTMLResponse, responses=answers(500)
)

LinkToken = Annotated[str, Path(description="The last part of the link in the mail.")]


@open_to_all.get(
    "/unsubscribe/{token}",
    operation_id="askToUnsubscribe",
    summary="The page that asks",
    responses=_pages(200, 404, 503),
)
def ask_to_unsubscribe(token: LinkToken) -> HTMLResponse:
    """A page with one button. Looking at it changes nothing: mail scanners follow every link."""
    if customer_of(token) is None:
        return _no_such_link()
    return page(
        "No more offers by e-mail?",
        "<p>We will not send you promotions any more. Mails about your own appointments and payments still come.</p>"
        '<form method="post"><button>Unsubscribe</button></form>',
    )


@open_to_all.post(
    "/unsubscribe/{token}",
    operation_id="unsubscribe",
    summary="Unsubscribe",
    responses=_pages(200, 404, 503),
)
def do_unsubscribe(token: LinkToken) -> HTMLResponse:
    """Unsubscribes; by the page's button, or by a mail program's one click (RFC 8058), whose body says nothing more."""
    if not unsubscribe(token):
        return _no_such_link()
    return page("You are unsubscribed", "<p>We will not send you promotions any more.</p>")


def _no_such_link() -> HTMLResponse:
    return page(
        "This link does not work",
        "<p>It may have been cut off. Please use the whole link from the mail, or answer the mail.</p>",
        404,
    )
