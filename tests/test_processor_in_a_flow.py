"""A processor as a plain Prefect task, without the queue: a flow calls it, and Prefect retries it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect import flow

from tests import sample_processors

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def _no_calls() -> None:
    sample_processors.calls.clear()


@pytest.mark.usefixtures("samples", "_no_calls")
@pytest.mark.parametrize("payload", [{"name": "ada"}, sample_processors.Named(name="ada")], ids=["dict", "model"])
def test_a_processor_called_in_a_flow_is_retried_by_prefect(payload: Any) -> None:
    @flow(name="offer")
    def offer() -> Any:
        return sample_processors.direct(payload)

    assert offer() == "ADA"
    assert len(sample_processors.calls) == 3


@pytest.mark.usefixtures("samples", "_no_calls")
def test_an_async_processor_called_in_a_flow_is_retried_by_prefect() -> None:
    @flow(name="offer-async")
    async def offer() -> Any:
        return await sample_processors.direct_async({"name": "ada"})

    assert asyncio.run(offer()) == "ADA"
    assert len(sample_processors.calls) == 3


@pytest.mark.usefixtures("samples", "_no_calls")
def test_a_permanent_error_in_a_flow_is_not_retried() -> None:
    @flow(name="offer-permanent")
    def offer() -> Any:
        return sample_processors.direct({"name": "permanent"})

    with pytest.raises(Exception, match="no use"):
        offer()
    assert len(sample_processors.calls) == 1
