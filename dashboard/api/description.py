"""The API's own description: what every answer looks like, and a page to read it that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dashboard.api.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, Problem, Unauthorized
from dashboard.api.shapes import JOB_ID

TITLE = "Dirt Free jobs"
DESCRIPTION = """\
The background jobs of Dirt Free's CRM: add them, look at them, retry and cancel them.

Send `Authorization: Bearer <token>`. `ADMIN_API_READ_TOKEN` may look, `ADMIN_API_TOKEN` may look and act,
`CRON_SECRET` opens the two cron endpoints and nothing else; where none is set, nobody gets in.
Every answer has an `X-Request-ID`: yours, if you sent a sane one. What is no success is a problem (RFC 9457), but for a
401, which is `{"error": "Unauthorized"}`.
"""
#: Where the application is mounted.
PREFIX = "/api"

_DETAILS = {
    400: "expected JSON in UTF-8, got something else: EOF while parsing an object at line 1 column 1",
    403: "expected a token that may act, got API, ADMIN_API_READ_TOKEN, which may only look",
    404: "there is no job 'job-123'",
    409: "expected a failed or cancelled job, got one that is processing",
    413: "expected a body of at most 65,536 bytes, got more; send it in parts",
    415: "expected the Content-Type application/json, got 'text/plain'",
    422: "payload does not fit send_promotion: customer_id: Field required, got {}",
    500: "this is a mistake of the server's; its log has more under the request id",
    503: f"the database cannot be used at the moment; try again in {RETRY_AFTER_SECONDS} s",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Dirt Free jobs: HTTP API</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="docs/assets/swagger-ui.css"></head>
<body><div id="docs"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script>{start}</script>
</body></html>
"""
# Nothing is asked of the validator that the page would else ask, and no token outlives the page.
_START = (
    'SwaggerUIBundle({url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null,'
    " persistAuthorization: false, defaultModelsExpandDepth: 0, syntaxHighlight: false});"
)


def answers(*statuses: int, **details: str) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside its success; `details`: examples of its own, `s404="..."`."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        phrase = HTTPStatus(status).phrase
        if status == 401:
            content = {"application/json": _content("Unauthorized", {"error": "Unauthorized"})}
        else:
            example = {
                "type": "about:blank", "title": phrase, "status": status,
                "detail": details.get(f"s{status}", _DETAILS[status]),
                "instance": f"{PREFIX}/jobs", "request_id": "f3c1",
            }  # fmt: skip
            if status == 422:
                example["errors"] = [
                    {"where": "body.priority", "message": "Input should be less than or equal to 10"}
                ]
            content = {MEDIA_TYPE: _content("Problem", example)}
        found[status] = {"description": phrase, "content": content}
        if status == 401:
            found[status]["headers"] = {"WWW-Authenticate": _header("Always `Bearer`.")}
        if status == 503:
            found[status]["headers"] = {"Retry-After": _header("Seconds.")}
    return found


def describe(app: FastAPI) -> None:
    """Gives the application its description at /openapi.json and the page at /docs."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    async def page(request: Request) -> Response:
        policy = (
            f"default-src 'none'; script-src 'self' '{_hash(_START)}'; style-src 'self' 'unsafe-inline';"
            " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(_PAGE.format(start=_START), headers={"Content-Security-Policy": policy})

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_route("/docs", page, include_in_schema=False)
    app.mount("/docs/assets", _Assets(packages=[("fastapi_offline", "static")]))


class _Assets(StaticFiles):
    """Swagger UI's files; they change with the package only."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response


def _description(app: FastAPI) -> dict[str, Any]:
    written = get_openapi(
        title=TITLE,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=[{"url": PREFIX}],
    )
    _, extra = models_json_schema(
        [(Problem, "serialization"), (Unauthorized, "serialization")], ref_template="#/components/schemas/{model}"
    )
    written["components"]["schemas"] |= extra["$defs"]
    for unused in ("HTTPValidationError", "ValidationError"):
        written["components"]["schemas"].pop(unused, None)
    for schema in written["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            # "Maxretries" for `maxRetries` says nothing.
            field.pop("title", None)
    request_id = _header("Names this request in the log; yours, if you sent a sane one.")
    for operations in written["paths"].values():
        for operation in operations.values():
            # The framework's own, where a path's parameter cannot be wrong.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            for answer in operation["responses"].values():
                answer.setdefault("headers", {})["X-Request-ID"] = request_id
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] == "job_id":
                    parameter["example"] = JOB_ID
    return written


def _content(model: str, example: Any) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{model}"}, "example": example}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
