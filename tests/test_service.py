"""An outside service's circuit breaker and rate, and the cache: what processors and other workers see of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from support import query, value

from models.services import hold, release, service_states, take_turn
from tasks import Cache, PermanentError, ServiceDownError, Snooze
from tasks.services.service import Service, ServiceHeld

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def needing(database: str) -> None:
    """Two job types that need the service, and one that does not."""
    query(
        "INSERT INTO job_types (job_type, services)"
        " VALUES ('mail', '{post}'), ('both', '{post,telegraph}'), ('free', '{}')"
    )


class Clock:
    """Goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The breakers' clock."""
    clock = Clock()
    monkeypatch.setattr("tasks.services.service.time", SimpleNamespace(monotonic=clock))
    return clock


def held() -> set[str]:
    return {name for (name,) in query("SELECT job_type FROM job_types WHERE held_until > now()")}


async def use(service: Service, error: Exception | None = None) -> str:
    try:
        async with service.call():
            if error is not None:
                raise error
    except Exception as raised:
        return type(raised).__name__
    return "done"


def test_failures_in_a_row_open_it_and_hold_what_needs_it_for_all_workers() -> None:
    service = Service("post", failures=3, first_hold=60)

    async def main() -> list[str]:
        down = ServiceDownError("post office: connection refused")
        errors = [down, down, None, down, down, down, down, None]
        return [await use(service, error) for error in errors]

    outcomes = asyncio.run(main())

    # A success in between begins the count anew; once it is open, nobody is charged and nothing is tried.
    assert outcomes == ["ServiceDownError"] * 2 + ["done"] + ["ServiceDownError"] * 3 + ["ServiceHeld"] * 2
    assert held() == {"both", "mail"}
    (state,) = service_states()
    assert (state.service, state.breaker, state.reason) == ("post", "open", "post office: connection refused")
    query("UPDATE services SET open_until = now() - interval '1 second'")
    assert service_states()[0].breaker == "half-open"
    reason = value("SELECT held_reason FROM job_types WHERE job_type = 'mail'")
    assert reason == "post is not answering: post office: connection refused"


def test_an_answer_that_is_a_refusal_is_no_outage() -> None:
    service = Service("post", failures=2, first_hold=60)

    async def main() -> list[str]:
        refusals = [PermanentError("no such address"), ValueError("odd"), Snooze("later", seconds=1)] * 3
        return [await use(service, error) for error in refusals]

    asyncio.run(main())

    assert service.state == "closed"
    assert held() == set()


def test_those_under_way_when_it_opens_are_put_off_and_not_charged() -> None:
    service = Service("post", failures=5, first_hold=60)

    async def call(gate: asyncio.Event) -> str:
        try:
            async with service.call():
                await gate.wait()
                raise ServiceDownError("gone")
        except Exception as error:
            return type(error).__name__
        return "done"

    async def main() -> list[str]:
        gate = asyncio.Event()
        calls = [asyncio.create_task(call(gate)) for _ in range(150)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*calls)

    outcomes = asyncio.run(main())

    assert outcomes.count("ServiceDownError") == 5
    assert outcomes.count("ServiceHeld") == 145


def test_after_the_hold_one_tries_while_the_others_wait_and_go_on_when_it_succeeds(clock: Clock) -> None:
    service = Service("post", failures=1, first_hold=60)
    under_way: list[int] = []

    async def call() -> str:
        try:
            async with service.call():
                under_way.append(len(under_way))
                first = len(under_way) == 1
                await asyncio.sleep(0.1)
                if first:
                    assert len(under_way) == 1, "somebody did not wait"
        except ServiceHeld:
            return "held"
        return "done"

    async def main() -> list[str]:
        assert await use(service, ServiceDownError("gone")) == "ServiceDownError"
        assert await call() == "held"
        clock.now += 61
        return await asyncio.gather(*(call() for _ in range(5)))

    assert asyncio.run(main()) == ["done"] * 5
    assert service.state == "closed"
    assert held() == set()
    assert [state.breaker for state in service_states()] == ["closed"]


def test_a_trial_that_fails_holds_twice_as_long(clock: Clock) -> None:
    service = Service("post", failures=1, first_hold=10)

    async def main() -> list[float]:
        waits = []
        for _ in range(3):
            await use(service, ServiceDownError("gone"))
            with pytest.raises(ServiceHeld) as put_off:
                async with service.call():
                    pass
            waits.append(put_off.value.seconds)
            clock.now += put_off.value.seconds
        return waits

    assert asyncio.run(main()) == [10, 20, 40]


def test_a_trial_that_is_cancelled_leaves_the_trial_to_the_next(clock: Clock) -> None:
    service = Service("post", failures=1, first_hold=60)

    async def stuck(trying: asyncio.Event) -> None:
        async with service.call():
            trying.set()
            await asyncio.Event().wait()

    async def main() -> str:
        await use(service, ServiceDownError("gone"))
        clock.now += 61
        trying = asyncio.Event()
        trial = asyncio.create_task(stuck(trying))
        await trying.wait()
        trial.cancel()
        return await use(service)

    assert asyncio.run(main()) == "done"


def test_the_first_answer_that_a_worker_gets_ends_the_hold_of_one_that_was_killed() -> None:
    hold("post", seconds=60, reason="its worker was killed then")
    service = Service("post")

    asyncio.run(use(service, PermanentError("no such address")))

    assert held() == set()
    assert [state.breaker for state in service_states()] == ["closed"]


def test_a_release_leaves_what_another_service_holds() -> None:
    assert sorted(hold("post", seconds=60, reason="x")) == ["both", "mail"]
    assert hold("telegraph", seconds=30, reason="y") == ["both"]

    release("post")
    assert held() == {"both"}

    release("telegraph")
    assert held() == set()


def test_turns_are_spread_evenly_over_all_who_ask() -> None:
    waits = [take_turn("post", 0.1, patience=1000) for _ in range(6)]

    gaps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    assert waits[0] < 5
    # Ten seconds apart, less what asking itself took.
    assert all(gap <= 10 for gap in gaps) and waits[-1] > 20


def test_a_turn_that_is_too_far_away_is_not_taken() -> None:
    for _ in range(3):
        take_turn("post", 0.01, patience=1000)

    assert take_turn("post", 0.01, patience=150) > 150
    assert take_turn("post", 0.01, patience=1000) <= 300


def test_calls_beyond_the_rate_are_put_off_and_spend_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.services.service.TURN_PATIENCE_SECONDS", 35.0)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    # Ten seconds apart, so that it does not matter what asking takes; nobody has the time to wait for them.
    monkeypatch.setattr("tasks.services.service.asyncio", SimpleNamespace(to_thread=asyncio.to_thread, sleep=sleep))
    service = Service("post", per_second=lambda: 0.1)

    async def main() -> list[str]:
        return await asyncio.gather(*(use(service) for _ in range(8)))

    outcomes = asyncio.run(main())

    assert set(outcomes) == {"done", "Snooze"}
    assert 4 <= outcomes.count("done") == len(slept) <= 6
    assert 20 < max(slept) <= 35
    assert service.state == "closed"


@pytest.fixture
def loads() -> Iterator[list[str]]:
    yield []


def test_what_a_batch_reads_is_read_once_and_what_is_missing_is_looked_for_again(loads: list[str]) -> None:
    async def load(key: str) -> str | None:
        loads.append(key)
        await asyncio.sleep(0.01)
        return None if key == "missing" else key.upper()

    cache = Cache(load, seconds=60)

    async def main() -> list[str | None]:
        return await asyncio.gather(*(cache.get(key) for key in ["a", "b", "missing"] * 20))

    assert asyncio.run(main()) == ["A", "B", None] * 20
    asyncio.run(main())
    assert loads == ["a", "b", "missing", "missing"]


def test_the_cache_believes_for_its_seconds_only(loads: list[str]) -> None:
    async def load(key: str) -> str:
        loads.append(key)
        return key

    clock = Clock()
    cache = Cache(load, seconds=60, timer=clock)

    async def main() -> None:
        for _ in range(3):
            await cache.get("a")
            clock.now += 59
            await cache.get("a")
            clock.now += 2

    asyncio.run(main())
    assert loads == ["a"] * 3


def test_a_load_that_fails_fails_for_all_who_wait_and_is_tried_again(loads: list[str]) -> None:
    async def load(key: str) -> str:
        loads.append(key)
        await asyncio.sleep(0)
        if len(loads) == 1:
            raise ConnectionError("away")
        return key

    cache = Cache(load, seconds=60)

    async def main() -> list[object]:
        return await asyncio.gather(*(cache.get("a") for _ in range(3)), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(main())] == [ConnectionError] * 3
    assert asyncio.run(main()) == ["a"] * 3
