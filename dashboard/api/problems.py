"""What went wrong, as the caller reads it: problem details (RFC 9457), and the guide's own body for a 401."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from models.door import InvalidJobError, PayloadTooLargeError
from models.embedded.server import EmbeddedPostgresError
from models.enqueue import UniqueKeyContentionError
from models.ids import can_be_stored
from models.schema import SchemaError

MEDIA_TYPE = "application/problem+json"
#: A database that was restarted is back in about as many seconds.
RETRY_AFTER_SECONDS = 5
#: The store does not answer, or not in time, or not yet with this code's schema.
STORE_ERRORS: tuple[type[Exception], ...] = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    SchemaError,
    EmbeddedPostgresError,
    UniqueKeyContentionError,
)
#: Of a body with a thousand mistakes, as many are named.
MOST_ERRORS = 20

log = logging.getLogger("dashboard.api")


class FieldError(BaseModel):
    """One mistake in what was sent."""

    where: str = Field(description="Path of the value: `body.priority`, `query.limit`.")
    message: str = Field(description="What was expected.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field("about:blank", description="Always about:blank: the status says what kind it is.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What was expected, what came, and what to do.")
    instance: str = Field(description="The path that was asked.")
    request_id: str = Field(description="The same as in the X-Request-ID header and in the server's log.")
    errors: list[FieldError] | None = Field(None, description="For 422: each value that does not fit.")


class Unauthorized(BaseModel):
    """The guide's answer to a missing or wrong token."""

    error: str


class Refusal(HTTPException):
    """An answer that is no success: its status and what to say."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))


def problem(
    scope: Mapping[str, Any],
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] | None = None,
) -> Response:
    """The response for a problem with the request of this ASGI scope."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=_storable(str(scope.get("path", ""))),
        request_id=scope.get("state", {}).get("request_id", ""),
        errors=list(errors) if errors else None,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def unauthorized() -> Response:
    """401 with the guide's body to the letter."""
    return JSONResponse({"error": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"})


def store_away(scope: Mapping[str, Any], error: Exception) -> Response:
    """503: what the store said is for the log, not for the caller."""
    request_id = scope.get("state", {}).get("request_id", "")
    log.warning("request %s: the database does not answer: %s: %.300s", request_id, type(error).__name__, error)
    cut_off = isinstance(error, psycopg.errors.QueryCanceled)
    detail = "the database took too long" if cut_off else "the database cannot be used at the moment"
    return problem(
        scope,
        503,
        f"{detail}; try again in {RETRY_AFTER_SECONDS} s",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def install(app: FastAPI) -> None:
    """Makes the application answer with problems."""

    async def refused(request: Request, error: HTTPException) -> Response:
        detail, headers = error.detail, dict(error.headers or {})
        if error.status_code == 404 and detail == "Not Found":
            detail = "there is nothing at this path; /api/docs lists what there is"
        elif error.status_code == 405:
            # The framework names those of the first route only.
            allowed = ", ".join(_methods(app, request)) or headers.get("Allow", "GET")
            detail, headers["Allow"] = f"expected {allowed} at this path, got {request.method:.20}", allowed
        return problem(request.scope, error.status_code, detail, headers=headers)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            FieldError(where=_where(each["loc"]), message=str(each["msg"])) for each in error.errors()[:MOST_ERRORS]
        ]
        return problem(request.scope, 422, "what was sent does not fit; `errors` says where", errors=errors)

    async def no_job(request: Request, error: InvalidJobError) -> Response:
        status = 413 if isinstance(error, PayloadTooLargeError) else 422
        return problem(request.scope, status, _storable(str(error)))

    async def away(request: Request, error: Exception) -> Response:
        return store_away(request.scope, error)

    app.exception_handlers |= {
        HTTPException: refused,
        RequestValidationError: invalid,
        InvalidJobError: no_job,
        **dict.fromkeys(STORE_ERRORS, away),
    }


def _methods(app: FastAPI, request: Request) -> list[str]:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return sorted(
        method.upper()
        for template, operations in app.openapi()["paths"].items()
        if compile_path(template)[0].match(path)
        for method in operations
    )


def _where(location: Sequence[int | str]) -> str:
    # "one" and "many" are this API's own names for the two forms of the body.
    parts = [str(part) for place, part in enumerate(location) if not (place == 1 and part in ("one", "many"))]
    return _storable(".".join(parts))[:200]


def _storable(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text if can_be_stored(text) else text.encode("utf-8", "replace").decode().replace("\x00", "?")
