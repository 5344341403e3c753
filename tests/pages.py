"""The dashboard's pages in the tests: run as Streamlit runs them, in this process, on a real queue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

SCRIPT = Path(__file__).parents[1] / "dashboard" / "pages.py"
PAGES = ("overview", "active", "queue", "failed", "history", "job", "schedules", "store")


def open_page(name: str, *, zone: str = "Europe/Zurich", **place: Any) -> AppTest:
    """A page that has run once; `place` is what its URL says behind the question mark."""
    app = AppTest.from_file(str(SCRIPT), default_timeout=60)
    app.context = {"timezone": zone}
    run(app)
    for key, value in place.items():
        app.query_params[key] = value
    return run(app.switch_page(f"app_pages/{name}.py")) if name != "overview" or place else app


def run(app: AppTest) -> AppTest:
    """Runs the page again; what it raised fails the test."""
    app.run()
    assert not app.exception, [each.message for each in app.exception]
    return app


def click(app: AppTest, key: str) -> AppTest:
    """Clicks a button by its key."""
    app.button(key=key).click()
    return run(app)


def choose(app: AppTest, table: str, rows: Sequence[int]) -> AppTest:
    """Chooses rows of a table with a selection."""
    chosen = app.session_state.get("selection_round", 0)
    app.session_state[f"{table}_{chosen}"] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return run(app)


def texts(app: AppTest) -> str:
    """Everything a page says in words."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "success", "warning", "error", "text")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))
