"""The API on a real server of loopback, in this process, so that a test's settings are the server's too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from running import until

from dashboard.api import app

OPERATOR, VIEWER, CRON = "operator-token-0123456789", "viewer-token-0123456789", "cron-secret-0123456789"
TOKENS = {"ADMIN_API_TOKEN": OPERATOR, "ADMIN_API_READ_TOKEN": VIEWER, "CRON_SECRET": CRON}


@contextmanager
def serving(asgi: Any = app) -> Iterator[str]:
    """Serves the application until the end of the block; gives its URL."""
    # asyncio turns Nagle's algorithm off only where TCP is named: with it each small answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        # Uvicorn's own 5 s may run out between a test's two requests, and it hangs up just as the second one comes.
        server = uvicorn.Server(uvicorn.Config(asgi, log_level="warning", timeout_keep_alive=300))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started, what="the API's start")
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def client(url: str, token: str | None = OPERATOR, **options: Any) -> httpx.Client:
    """A client that sends this token with every request."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=f"{url}/api", headers=headers, timeout=30, **options)
