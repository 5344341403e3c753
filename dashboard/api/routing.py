"""Routes that check the token, then the size of the body and its form, before anything else is done with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.responses import Response

from dashboard.api.access import SCHEMES, Need, caller_of
from dashboard.api.description import answers
from dashboard.api.problems import Refusal, unauthorized
from models.roles import Actor

#: A body of an id or two; the jobs' own routes take more.
BODY_LIMIT_BYTES = 64 * 1024

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def router(need: Need, tag: str, *, body_limit: int = BODY_LIMIT_BYTES) -> APIRouter:
    """A router whose routes are for callers with that right, and take bodies of at most `body_limit` bytes."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> _Handler:
            handle = super().get_route_handler()
            takes_json = self.body_field is not None

            async def guarded(request: Request) -> Response:
                actor = caller_of(request.headers.getlist("authorization"), need)
                if actor is None:
                    return unauthorized()
                if need == "operator" and actor.role != "operator":
                    raise Refusal(403, f"expected a token that may act, got {actor.name}, which may only look")
                request.state.caller = actor
                if takes_json:
                    _check_head(request, body_limit)
                return await handle(BoundedRequest(request, body_limit))

            return guarded

    return APIRouter(
        tags=[tag],
        route_class=Guarded,
        dependencies=[Security(SCHEMES[need])],
        responses=answers(401, *([403] if need == "operator" else []), 500, 503),
    )


def _caller(request: Request) -> Actor:
    actor = request.state.caller
    assert isinstance(actor, Actor)
    return actor


#: Who asks, for an endpoint's parameter.
Caller = Annotated[Actor, Depends(_caller)]


class BoundedRequest(Request):
    """A request whose body is cut off at a limit while it comes in; its JSON is read as the worker reads payloads."""

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(request.scope, request.receive)
        self._limit = limit

    async def stream(self) -> AsyncGenerator[bytes, None]:
        received = 0
        async for chunk in super().stream():
            received += len(chunk)
            if received > self._limit:
                raise _too_large(self._limit)
            yield chunk

    async def json(self) -> Any:
        try:
            # Unlike the standard library's it refuses NaN, lone surrogates, 5,000 digits and 100,000 brackets.
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise Refusal(400, f"expected JSON in UTF-8, got something else: {error!s:.200}") from None


def _check_head(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise _too_large(limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refusal(415, f"expected the Content-Type application/json, got {kind[:60] or 'none'!r}")


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"expected a body of at most {limit:,} bytes, got more; send it in parts")
