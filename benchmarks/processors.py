"""The job types that are measured: one that does nothing and one that waits."""

from __future__ import annotations

import asyncio

from tasks import Payload, processor


class Nothing(Payload):
    number: int = 0


@processor
async def bench_nothing(payload: Nothing) -> None:
    """Does nothing: what is left is the queue's own cost."""


class Wait(Payload):
    seconds: float


@processor
async def bench_wait(payload: Wait) -> None:
    """Waits, as for a mail server or another service."""
    await asyncio.sleep(payload.seconds)
