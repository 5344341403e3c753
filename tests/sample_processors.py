"""Job types for the tests of the worker: what behaves, and everything that does not.

Children load it through JOB_QUEUE_MODULES; what a job did is a row in `scratch.effects`, which the tests count.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import zlib
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run, task_run
from sqlalchemy import text

from models import database, registry
from tasks import Payload, PermanentError, Snooze, current_job, processor, report_progress, stage

SCRATCH = """
CREATE SCHEMA IF NOT EXISTS scratch;
CREATE TABLE IF NOT EXISTS scratch.effects (
    job_id TEXT NOT NULL, attempt INT NOT NULL, pid INT NOT NULL, note TEXT, at TIMESTAMPTZ DEFAULT clock_timestamp()
);
TRUNCATE scratch.effects;
"""
_EFFECT = "INSERT INTO scratch.effects (job_id, attempt, pid, note) VALUES (:job_id, :attempt, :pid, :note)"


class Nothing(Payload):
    pass


class Seconds(Payload):
    seconds: float = 0.0


class Named(Payload):
    name: str = ""


async def effect_row(note: str | None = None) -> None:
    """Writes down that this attempt got this far."""
    job = current_job()
    assert job is not None
    async with database.async_engine().begin() as connection:
        await connection.execute(
            text(_EFFECT), {"job_id": job.id, "attempt": job.attempt, "pid": os.getpid(), "note": note}
        )


def effect_row_now(note: str | None = None) -> None:
    """The same from a thread."""
    job = current_job()
    assert job is not None
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO scratch.effects (job_id, attempt, pid, note) VALUES (%s, %s, %s, %s)",
            [job.id, job.attempt, os.getpid(), note],
        )


@processor
async def noop(payload: Nothing) -> None:
    """Does nothing."""


@processor(retries=0, timeout_seconds=None)
async def nap(payload: Seconds) -> None:
    """Sleeps, politely."""
    await asyncio.sleep(payload.seconds)


@processor(retries=0, timeout_seconds=None)
async def effect(payload: Seconds) -> dict[str, int]:
    """Sleeps, then leaves a row."""
    await asyncio.sleep(payload.seconds)
    await effect_row("done")
    return {"pid": os.getpid()}


class After(Payload):
    others: int


@processor(retries=0, timeout_seconds=60)
async def goes_last(payload: After) -> None:
    """Ends when that many others have completed; they must not have to wait for it."""
    async with database.async_engine().connect() as connection:
        count = text("SELECT count(*) FROM background_jobs WHERE status = 'completed'")
        while (await connection.scalar(count)) < payload.others:
            await connection.commit()
            await asyncio.sleep(0.1)


@processor(retries=0, timeout_seconds=None)
async def long_effect(payload: Seconds) -> None:
    """Leaves a row, sleeps, leaves another one."""
    await effect_row("began")
    await asyncio.sleep(payload.seconds)
    await effect_row("done")


@processor(retries=3, retry_delay_seconds=0.1)
async def flaky(payload: Nothing) -> None:
    """Fails for a fifth of all attempts: which ones depends on the job and the attempt alone."""
    job = current_job()
    assert job is not None
    if zlib.crc32(f"{job.id}/{job.attempt}".encode()) % 5 == 0:
        raise ConnectionError(f"attempt {job.attempt} did not get through")


class FailingTimes(Payload):
    times: int
    permanently: bool = False


@processor(retries=3, retry_delay_seconds=[0.1, 0.2, 0.3], retry_jitter_factor=0)
async def fails(payload: FailingTimes) -> str:
    """Fails the first `times` attempts."""
    job = current_job()
    assert job is not None
    await effect_row()
    if job.attempt <= payload.times:
        raise (PermanentError if payload.permanently else ConnectionError)(f"attempt {job.attempt} of job {job.id}")
    return "at last"


@processor(retries=0, timeout_seconds=3)
async def too_long(payload: Seconds) -> None:
    """Has 3 s."""
    await asyncio.sleep(payload.seconds)


@processor(retries=0, timeout_seconds=3)
def too_long_in_thread(payload: Seconds) -> None:
    """Has 3 s, and does not know how to stop."""
    time.sleep(payload.seconds)


@processor(retries=0, timeout_seconds=None)
def block(payload: Seconds) -> None:
    """A `def` that cannot be interrupted."""
    effect_row_now("began")
    time.sleep(payload.seconds)


@processor(retries=0, timeout_seconds=None)
async def stubborn(payload: Seconds) -> None:
    """Ignores cancellation."""
    await effect_row("began")
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(until - time.monotonic())
        except asyncio.CancelledError:
            continue


@processor(retries=0, timeout_seconds=None)
async def block_loop(payload: Seconds) -> None:
    """Does what an `async def` must not: blocks the event loop."""
    await effect_row("began")
    time.sleep(payload.seconds)


class Raised(Payload):
    what: str


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def raise_(what: str) -> None:
    match what:
        case "nothing":
            return
        case "SystemExit":
            sys.exit(3)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "CancelledError":
            raise asyncio.CancelledError
        case "GeneratorExit":
            raise GeneratorExit
        case "StopIteration":
            raise StopIteration
        case "NUL":
            raise ValueError("a \x00 and a lone \ud800 surrogate")
        case "UnprintableError":
            raise UnprintableError
        case _:
            raise ValueError(what)


@processor(retries=0)
async def raises(payload: Raised) -> None:
    """Raises whatever it is told to."""
    await asyncio.sleep(0)
    if payload.what == "cancel":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
    raise_(payload.what)


@processor(retries=0)
def raises_in_thread(payload: Raised) -> None:
    """Raises whatever it is told to, from a thread."""
    raise_(payload.what)


class Unreprable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Model(Payload):
    some_number: int


@processor(retries=0)
async def returns(payload: Named) -> Any:
    """Returns something odd."""
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    return {
        "dict": {"a": [1, None, "ü"]},
        "model": Model(some_number=7),
        "number": 3.5,
        "set": {1},
        "nan": float("nan"),
        "huge": 10**5000,
        "NUL": "a\x00b",
        "surrogate": "a\ud800b",
        "large": "x" * 100_000,
        "deep": deep,
        "unreprable": Unreprable(),
        "bytes": b"\x00\xff",
    }.get(payload.name)


@processor(retries=0, timeout_seconds=60)
async def progresses(payload: Nothing) -> None:
    """Says how far it is, and ends when a row of the scratch table says "go on"."""
    for step in range(1, 10):
        report_progress(step / 10, f"step {step} of 10")
    async with database.async_engine().connect() as connection:
        told = text("SELECT count(*) FROM scratch.effects WHERE note = 'go on'")
        while not await connection.scalar(told):
            await connection.commit()
            await asyncio.sleep(0.1)


class MaybeKills(Payload):
    kills: bool = False
    seconds: float = 0.5


@processor(retries=0, timeout_seconds=None)
async def maybe_kills(payload: MaybeKills) -> None:
    """Kills its worker, or is a neighbour of one that does."""
    await effect_row("began")
    if payload.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(payload.seconds)


class EndsLoop(MaybeKills):
    #: The loop closes only when its threads have ended.
    threads_end_after: float = 0


@processor(retries=0, timeout_seconds=None)
async def ends_loop(payload: EndsLoop) -> None:
    """Ends the worker's event loop: a task of its own exits, which asyncio lets through."""
    await effect_row("began")
    if payload.kills:

        async def leave() -> None:
            if payload.threads_end_after:
                asyncio.get_running_loop().run_in_executor(None, time.sleep, payload.threads_end_after)
            sys.exit(4)

        asyncio.create_task(leave())
    await asyncio.sleep(payload.seconds)


@processor(retries=0)
async def told(payload: Nothing) -> dict[str, Any]:
    """What Prefect and the queue tell a processor."""
    get_run_logger().warning("from an async processor")
    job = current_job()
    assert job is not None
    return {
        "flow_run": str(flow_run.id),
        "flow": flow_run.flow_name,
        "task_run": str(task_run.id),
        "task": task_run.task_name,
        "job": job.id,
        "attempt": job.attempt,
    }


@processor(retries=0)
def told_in_thread(payload: Nothing) -> dict[str, Any]:
    """The same from a thread."""
    get_run_logger().warning("from a def processor")
    job = current_job()
    assert job is not None
    return {"flow_run": str(flow_run.id), "task_run": str(task_run.id), "job": job.id}


@processor(retries=2, retry_delay_seconds=0.1)
def together(payloads: list[Named]) -> list[Any]:
    """Takes a whole batch; says how many there were."""
    with stage("fetch"):
        names = [payload.name for payload in payloads]
    with stage("work"):
        time.sleep(0.04)
    said: dict[str, Any] = {
        "wrong": PermanentError("wrong, as asked"),
        "later": Snooze("not before noon", seconds=3600),
    }
    return [said.get(name, {"of": len(payloads)}) for name in names]


@processor(retries=2, retry_delay_seconds=0.1)
async def together_or_not(payloads: list[Named]) -> list[Any]:
    """Takes a whole batch, and breaks as a whole."""
    if any(payload.name == "breaks" for payload in payloads):
        raise ConnectionError("all or nothing")
    return [{"of": len(payloads)} for _ in payloads]


@processor(retries=0)
def together_by_name(payloads: list[Named]) -> Any:
    """Takes a whole batch, and returns as many results as it should, but not in a list."""
    return {number: payload.name for number, payload in enumerate(payloads)}


#: How many jobs each call of `all_or_none` and `hangs_together` was for.
calls_over: list[int] = []


@processor(retries=0, batch_size=1000)
def all_or_none(payloads: list[Named]) -> list[int]:
    """One transaction, which a name that begins with "bad" breaks, after its row is there."""
    calls_over.append(len(payloads))
    with database.transaction() as connection:
        for payload in payloads:
            connection.execute(
                "INSERT INTO scratch.effects (job_id, attempt, pid) VALUES (%s, 1, 0)", [payload.name]
            )
            if payload.name.startswith("bad"):
                raise ValueError(f"{payload.name} is bad")
            if payload.name.startswith("not yet"):
                raise Snooze("not before noon", seconds=3600)
    return [len(payloads)] * len(payloads)


@processor(retries=1, retry_delay_seconds=3600, timeout_seconds=0.05, batch_size=1000)
async def hangs_together(payloads: list[Named]) -> list[None]:
    """Hangs when any of its jobs says so."""
    calls_over.append(len(payloads))
    if any(payload.name == "hangs" for payload in payloads):
        await asyncio.Event().wait()
    return [None] * len(payloads)


calls: list[str] = []


@processor(retries=2, retry_delay_seconds=0, retry_jitter_factor=0)
def direct(payload: Named) -> str:
    """Fails twice, then works; called as a task in a flow."""
    calls.append(payload.name)
    if payload.name == "permanent":
        raise PermanentError("no use")
    if len(calls) <= 2:
        raise ConnectionError("not yet")
    return payload.name.upper()


@processor(retries=2, retry_delay_seconds=0, retry_jitter_factor=0)
async def direct_async(payload: Named) -> str:
    """The same, async."""
    calls.append(payload.name)
    if len(calls) <= 2:
        raise ConnectionError("not yet")
    return payload.name.upper()


#: All of the above, to be registered for a test and forgotten after it.
SAMPLES = [
    found
    for value in list(globals().values())
    if (found := registry.registered(getattr(value, "name", ""))) is not None and found.task is value
]
