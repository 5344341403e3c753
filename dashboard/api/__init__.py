"""The HTTP API. With `mounted()` a route beside the dashboard's pages, or alone:

    .venv/bin/uvicorn dashboard.api:app
"""

from dashboard.api.application import app, create_api, mounted

__all__ = ["app", "create_api", "mounted"]
