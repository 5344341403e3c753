"""Job types for the browser's journeys: letters that a post office takes once it is open, and naps."""

from __future__ import annotations

import asyncio
import os

from tasks import Payload, processor


class Letter(Payload):
    number: int


class Rest(Payload):
    seconds: float = 600.0


@processor(retries=0, timeout_seconds=30)
async def deliver_letter(payload: Letter) -> str:
    """Hands a letter over; fails as long as there is no file that JOURNEY_POST_OFFICE names."""
    if not os.path.exists(os.environ["JOURNEY_POST_OFFICE"]):
        raise ConnectionError(f"the post office refused letter {payload.number}")
    return "delivered"


@processor(retries=0, timeout_seconds=None)
async def long_rest(payload: Rest) -> None:
    """Rests, and can be interrupted."""
    await asyncio.sleep(payload.seconds)
