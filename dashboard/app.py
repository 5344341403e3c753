"""The dashboard and the HTTP API in one process:

    .venv/bin/streamlit run dashboard/app.py
    .venv/bin/uvicorn dashboard.app:app
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from dashboard import access, oidc, sign_in
from dashboard.api import mounted
from dashboard.guard import Guard
from models import database
from models.settings import settings

log = logging.getLogger("jobs.dashboard")


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Says who may come in; leaves the database at the end."""
    if access.way() is access.Way.LOOPBACK:
        log.warning(
            "the dashboard has no sign-in: only this machine's own browser may look, and act. For others set "
            "DASHBOARD_PASSWORD_HASH (`jobs password` makes it) or the DASHBOARD_OIDC_... settings"
        )
    if settings().admin_api_token is None:
        log.warning("ADMIN_API_TOKEN is not set: what needs it is closed")
    try:
        yield
    finally:
        database.dispose()


logging.getLogger("uvicorn.access").addFilter(oidc.keep_out_of_log)

# Streamlit finds the application by this very assignment, and starts it with uvicorn.
app = st.App(
    Path(__file__).resolve().with_name("pages.py"),
    routes=[mounted(), *sign_in.routes()],
    middleware=[Middleware(Guard)],
    lifespan=lifespan,
    secrets=oidc.secrets(),
)
