"""`batch_process`: bounded concurrency, one outcome an item, and it never stops at an error."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import ItemOutcome, batch_process
from tests.running import Rows


class Gauge:
    """Counts how many work at once; in threads they wait for so many, as nobody knows when a thread begins."""

    def __init__(self, expected: int = 0) -> None:
        self.now = self.most = 0
        self._expected = expected
        self._changed = threading.Condition()

    def enter(self) -> None:
        with self._changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()

    def leave(self) -> None:
        with self._changed:
            self.now -= 1

    async def work(self, item: Any) -> Any:
        self.enter()
        await asyncio.sleep(0.02)
        self.leave()
        return item

    def work_in_thread(self, item: Any) -> Any:
        self.enter()
        with self._changed:
            self._changed.wait_for(lambda: self.most >= self._expected, 30)
        time.sleep(0.02)  # for one too many to come
        self.leave()
        return item


@pytest.mark.parametrize("kind", ["work", "work_in_thread"])
@pytest.mark.parametrize(("items", "batch_size", "at_once"), [(40, 10, 10), (3, 10, 3), (5, 1, 1)])
def test_it_runs_batch_size_at_once_and_never_more(kind: str, items: int, batch_size: int, at_once: int) -> None:
    gauge = Gauge(expected=at_once)
    outcomes = batch_process(range(items), getattr(gauge, kind), batch_size=batch_size)
    assert [outcome.result for outcome in outcomes] == list(range(items))
    assert gauge.most == at_once


def test_fifty_at_once_is_the_default() -> None:
    gauge = Gauge()
    batch_process(range(150), gauge.work)
    assert gauge.most == 50


def test_nothing_to_do_is_nothing_done() -> None:
    assert batch_process([], print) == []


def test_an_error_is_its_items_outcome_and_stops_nobody() -> None:
    def halve(number: int) -> int:
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number // 2

    outcomes = batch_process([2, 3, 4, 5], halve, batch_size=2)
    assert [outcome.ok for outcome in outcomes] == [True, False, True, False]
    assert [outcome.item for outcome in outcomes] == [2, 3, 4, 5]
    assert [outcome.result for outcome in outcomes] == [1, None, 2, None]
    assert str(outcomes[1].error) == "3 is odd"
    assert outcomes[0].error is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("is_async", [True, False])
def test_no_exception_is_too_odd(error: BaseException, batch_size: int, is_async: bool) -> None:
    def work(item: int) -> int:
        if item == 1:
            raise error
        return item

    async def work_async(item: int) -> int:
        await asyncio.sleep(0)
        return work(item)

    outcomes = batch_process(range(6), work_async if is_async else work, batch_size=batch_size)
    assert [outcome.result for outcome in outcomes] == [0, None, 2, 3, 4, 5]
    assert type(outcomes[1].error) is type(error)


def test_who_cancels_its_own_task_ends_only_its_item() -> None:
    async def work(item: int) -> int:
        if item == 0:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)
        await asyncio.sleep(0)
        return item

    outcomes = batch_process([0, 1, 2], work, batch_size=1)
    assert isinstance(outcomes[0].error, asyncio.CancelledError)
    assert [outcome.result for outcome in outcomes[1:]] == [1, 2]


async def double(number: int) -> int:
    return 2 * number


class Doubling:
    async def __call__(self, number: int) -> int:
        return 2 * number


@pytest.mark.parametrize("processor", [double, lambda number: 2 * number, lambda number: double(number), Doubling()])
def test_every_kind_of_callable_will_do(processor: Any) -> None:
    assert [outcome.result for outcome in batch_process([1, 2, 3], processor)] == [2, 4, 6]


def test_a_partial_will_do() -> None:
    async def add(number: int, *, more: int) -> int:
        return number + more

    assert [outcome.result for outcome in batch_process([1, 2], partial(add, more=5))] == [6, 7]


@pytest.mark.usefixtures("samples")
def test_a_job_types_task_runs_without_prefect_and_takes_dicts() -> None:
    from tests import sample_processors

    sample_processors.calls[:] = ["", ""]
    payloads = [{"name": "ada"}, sample_processors.Named(name="grace"), {"wrong": 1}]
    outcomes = batch_process(payloads, sample_processors.direct)
    assert [outcome.result for outcome in outcomes] == ["ADA", "GRACE", None]
    assert "wrong" in str(outcomes[2].error)


def test_it_works_inside_a_running_loop() -> None:
    async def cell() -> list[ItemOutcome[int]]:
        return batch_process([1, 2, 3], double)

    assert [outcome.result for outcome in asyncio.run(cell())] == [2, 4, 6]


def test_context_reaches_the_items(samples: Rows, prefect_api: str) -> None:
    from prefect import flow
    from prefect.runtime import flow_run

    async def run_of(item: int) -> str:
        return str(flow_run.id)

    @flow(name="batching")
    def batching() -> tuple[str, list[Any]]:
        return str(flow_run.id), [outcome.result for outcome in batch_process([1, 2], run_of)]

    run, seen = batching()
    assert seen == [run, run]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_under_one_is_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size: expected 1 or more, got {batch_size}"):
        batch_process([1], print, batch_size=batch_size)




@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.integers(-5, 5), max_size=60),
    batch_size=st.integers(1, 20),
    is_async=st.booleans(),
)
def test_one_outcome_an_item_in_order_whatever_fails(items: list[int], batch_size: int, is_async: bool) -> None:
    gauge = Gauge()

    def work(item: int) -> int:
        gauge.enter()
        try:
            if item < 0:
                raise (ValueError, SystemExit, asyncio.CancelledError)[-item % 3](item)
            return item * item
        finally:
            gauge.leave()

    async def work_async(item: int) -> int:
        await asyncio.sleep(0)
        return work(item)

    outcomes = batch_process(items, work_async if is_async else work, batch_size=batch_size)
    assert [outcome.item for outcome in outcomes] == items
    assert [outcome.ok for outcome in outcomes] == [item >= 0 for item in items]
    assert [outcome.result for outcome in outcomes] == [item * item if item >= 0 else None for item in items]
    assert gauge.most <= batch_size
    assert gauge.now == 0
