"""The application: `create_api()`, `mounted()` for a server of more than that, and `app` for uvicorn alone."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from dashboard.api import admin, cron, description, health, jobs, metrics, problems, reviews, unsubscribe
from dashboard.api.envelope import Envelope
from models import database
from models.settings import settings

VERSION = "1.0.0"
_TAGS = [
    {"name": "jobs", "description": "Adding jobs, looking at them, cancelling them."},
    {"name": "admin", "description": "The figures, what failed, and retrying it."},
    {"name": "cron", "description": "What a scheduler calls, with `CRON_SECRET`."},
    {"name": "metrics", "description": "For Prometheus."},
    {"name": "health", "description": "For whoever starts and watches this process."},
    {"name": "public", "description": "The pages that links in mails lead to. No token: the link is one."},
]

#: The last part of these is what a customer's link is worth.
_LINKS = re.compile(r"(/unsubscribe/|/review/)[^/? ]+")

log = logging.getLogger("dashboard.api")


def create_api() -> FastAPI:
    """The API without its prefix, to be mounted at `/api`; it needs no lifespan of its own."""
    api = FastAPI(
        title=description.TITLE,
        version=VERSION,
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
        # A redirect would be built from the Host header, which anybody can send.
        redirect_slashes=False,
        middleware=[Middleware(Envelope)],
    )
    logging.getLogger("uvicorn.access").addFilter(_without_links)
    problems.install(api)
    for part in (
        jobs.adds, jobs.reads, jobs.acts, admin.reads, admin.acts, cron.acts, metrics.reads, health.open_to_all,
        unsubscribe.open_to_all, reviews.open_to_all,
    ):  # fmt: skip
        api.include_router(part)
    description.describe(api)
    return api


def mounted() -> Mount:
    """The API as a route at /api, for this application and the dashboard's."""
    mount = Mount(description.PREFIX, app=create_api())
    # As it is made, it lets go of paths with a line break in them, and whatever is mounted beside it answers.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    return mount


def _without_links(record: logging.LogRecord) -> bool:
    """Keeps customers' links out of the access log: whoever reads it could use them."""
    if isinstance(record.args, tuple):
        record.args = tuple(_LINKS.sub(r"\1...", part) if isinstance(part, str) else part for part in record.args)
    return True


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    # An unknown job type makes the door import the processors, and Prefect, which otherwise silences uvicorn's log.
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "INFO")
    closed = [
        name
        for name, token in (("ADMIN_API_TOKEN", settings().admin_api_token), ("CRON_SECRET", settings().cron_secret))
        if token is None
    ]
    if closed:
        log.warning("%s not set: what needs it is closed", " and ".join(closed))
    try:
        yield
    finally:
        database.dispose()


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await send({"type": "websocket.close"})
        return
    answer = problems.problem(scope, 404, f"there is nothing here; the API is below {description.PREFIX}/")
    await answer(scope, receive, send)


app = Starlette(routes=[mounted()], lifespan=_lifespan)
app.router.default = Envelope(_nothing_here)
app.router.redirect_slashes = False
