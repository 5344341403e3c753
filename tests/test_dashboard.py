"""Every page of the dashboard, with nothing in the queue."""

from __future__ import annotations

import pytest

from dashboard import data
from tests.pages import PAGES, open_page, texts

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _nothing_cached() -> None:
    data.forget()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_queue(name: str) -> None:
    assert open_page(name).title[0].value


def test_an_empty_queue_is_healthy() -> None:
    assert "Healthy" in texts(open_page("overview"))
