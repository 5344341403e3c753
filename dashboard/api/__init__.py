"""The HTTP API. Mounted at /api beside the dashboard's pages, or alone:

    .venv/bin/uvicorn dashboard.api:app
"""

from dashboard.api.application import app, create_api

__all__ = ["app", "create_api"]
