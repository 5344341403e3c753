"""Routes whose readers are people: what goes wrong is a page too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from dashboard.api.description import answers
from dashboard.api.pages import page
from dashboard.api.problems import RETRY_AFTER_SECONDS, STORE_ERRORS, log
from dashboard.api.routing import BODY_LIMIT_BYTES, BoundedRequest
from models.signing import SigningKeyError

_AWAY: tuple[type[Exception], ...] = (*STORE_ERRORS, SigningKeyError)
_WORDS = {
    200: "A page.",
    400: "A page: the form cannot be read.",
    404: "A page: the link is none of ours.",
    410: "A page: the link has run out.",
    413: "A page: the form is too long.",
    422: "A page: the form, with what is missing.",
    503: "A page: try again later.",
}


def page_router() -> APIRouter:
    """A router of pages, open to all."""
    return APIRouter(
        tags=["public"], route_class=_PageRoute, default_response_class=HTMLResponse, responses=answers(500)
    )


def page_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a page may answer."""
    content = {"text/html": {"schema": {"type": "string"}}}
    return {status: {"description": _WORDS[status], "content": content} for status in statuses}


class _PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(BoundedRequest(request, BODY_LIMIT_BYTES))
            except _AWAY as error:
                log.warning("request %s: a page cannot be shown: %.300s", request.state.request_id, error)
                return page(
                    "Not at the moment",
                    "<p>This does not work at the moment. Please try again in a few minutes.</p>",
                    503,
                    {"Retry-After": str(RETRY_AFTER_SECONDS)},
                )
            except (HTTPException, RequestValidationError) as error:
                status = error.status_code if isinstance(error, HTTPException) else 422
                return page(
                    "This did not work", "<p>What was sent cannot be read. Please go back and try again.</p>", status
                )

        return answered
