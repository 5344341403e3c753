"""When a failed job is tried again, and how a processor declares that and the rest of its policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.tasks import exponential_backoff
from pydantic import BaseModel, ValidationError
from support import job_type

from models import registry
from models.registry import LONGEST_RETRY_DELAY_SECONDS, JobType
from tasks import Payload, processor
from tasks.processor import DEFAULT_JITTER, DEFAULT_RETRIES, DEFAULT_TIMEOUT_SECONDS

# What a declaration may hold: `processor` cuts each delay to an hour.
delays = st.lists(st.floats(0, LONGEST_RETRY_DELAY_SECONDS), max_size=8).map(tuple)
jitters = st.floats(0, 10)
chances = st.floats(0, 1, exclude_max=True)
retries = st.integers(1, 1000)


class Visit(Payload):
    customer_id: str
    minutes: int = 30


@pytest.fixture(autouse=True)
def names_are_free_again() -> Iterator[None]:
    """What a test declares here is named `visit` or `other`."""
    yield
    for name in ("visit", "other"):
        registry.unregister(name)


def _declared(name: str = "visit") -> JobType:
    found = registry.registered(name)
    assert found is not None
    return found


def _declare(**policy: Any) -> JobType:
    @processor(**policy)
    def visit(payload: Visit) -> None:
        """Visits."""

    return _declared()


# --- The delay ---


@given(delays, jitters, retries, chances)
def test_a_delay_is_never_negative_never_under_the_declared_and_never_over_an_hour(
    declared: tuple[float, ...], jitter: float, retry: int, chance: float
) -> None:
    delay = job_type(retry_delays=declared, retry_jitter=jitter).retry_delay(retry, chance=lambda: chance)

    least = declared[min(retry, len(declared)) - 1] if declared else 0.0
    assert least <= delay <= LONGEST_RETRY_DELAY_SECONDS


@given(delays.filter(len), jitters, retries, chances)
def test_the_jitter_lengthens_by_its_share_of_the_delay_at_most(
    declared: tuple[float, ...], jitter: float, retry: int, chance: float
) -> None:
    exact = job_type(retry_delays=declared).retry_delay(retry)
    delay = job_type(retry_delays=declared, retry_jitter=jitter).retry_delay(retry, chance=lambda: chance)

    assert exact == declared[min(retry, len(declared)) - 1]
    assert delay <= exact * (1 + jitter)


@given(st.floats(0.001, 1000), st.integers(1, 60), jitters, chances)
def test_exponential_back_off_grows_with_every_retry_up_to_an_hour(
    factor: float, retry: int, jitter: float, chance: float
) -> None:
    declared = _declare(retry_delay_seconds=exponential_backoff(factor), retry_jitter_factor=jitter)

    delay, next_delay = (declared.retry_delay(number, chance=lambda: chance) for number in (retry, retry + 1))
    assert delay <= next_delay
    if next_delay < LONGEST_RETRY_DELAY_SECONDS:
        assert next_delay == pytest.approx(2 * delay)


@given(delays.filter(len), st.integers(0, 1000))
def test_the_last_delay_repeats(declared: tuple[float, ...], further: int) -> None:
    known = job_type(retry_delays=declared)

    assert known.retry_delay(len(declared) + further) == declared[-1]


@given(retries, chances)
def test_without_delays_a_retry_is_due_at_once(retry: int, chance: float) -> None:
    assert job_type(retry_jitter=5.0).retry_delay(retry, chance=lambda: chance) == 0


def test_the_jitter_differs_from_one_time_to_the_next() -> None:
    known = job_type(retry_delays=(10.0,), retry_jitter=0.5)

    assert len({known.retry_delay(1) for _ in range(50)}) > 40


# --- The declaration ---


def test_a_bare_processor_has_the_default_policy() -> None:
    @processor
    def visit(payload: Visit) -> None:
        """Visits."""

    declared = _declared()
    assert (declared.payload, declared.description, declared.batch_size) == (Visit, "Visits.", None)
    assert (declared.max_retries, declared.timeout_seconds) == (DEFAULT_RETRIES, DEFAULT_TIMEOUT_SECONDS)
    assert declared.retry_jitter == DEFAULT_JITTER
    assert declared.retry_delays[:4] == (5.0, 10.0, 20.0, 40.0)
    assert declared.task is visit


def test_a_processor_with_arguments_has_its_own_policy_and_prefect_the_same() -> None:
    declared = _declare(
        retries=2, retry_delay_seconds=[1, 2, 3], retry_jitter_factor=0.25, timeout_seconds=None, batch_size=7
    )

    assert (declared.max_retries, declared.retry_delays, declared.retry_jitter) == (2, (1.0, 2.0, 3.0), 0.25)
    assert (declared.timeout_seconds, declared.batch_size) == (None, 7)
    task = declared.task
    # Prefect takes as many delays as it retries.
    assert (task.name, task.retries, task.retry_delay_seconds, task.retry_jitter_factor) == ("visit", 2, [1, 2], 0.25)
    assert task.timeout_seconds is None
    # The row's schedule is the retry: Prefect must not retry a whole batch.
    assert (declared.batch_task.name, declared.batch_task.retries) == ("visit_batch", 0)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (7, (7.0,)),
        (0.5, (0.5,)),
        (0, (0.0,)),
        ([1, 2.5], (1.0, 2.5)),
        ([], ()),
        ([10, 100_000], (10.0, 3600.0)),
        (lambda count: [3.0] * min(count, 2), (3.0, 3.0)),
    ],
)
def test_delays_are_a_number_a_list_or_a_callable(declared: Any, expected: tuple[float, ...]) -> None:
    assert _declare(retry_delay_seconds=declared).retry_delays == expected


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"retries": -1}, "visit: retries: expected 0 to 50, got -1"),
        ({"retries": 51}, "visit: retries: expected 0 to 50, got 51"),
        ({"retry_jitter_factor": -0.1}, "visit: retry_jitter_factor: expected 0 or more, got -0.1"),
        ({"timeout_seconds": 0}, "visit: timeout_seconds: expected more than 0 or None, got 0"),
        ({"timeout_seconds": -2.5}, "visit: timeout_seconds: expected more than 0 or None, got -2.5"),
        ({"batch_size": 0}, "visit: batch_size: expected 1 or more or None, got 0"),
        ({"retry_delay_seconds": -1}, "retry_delay_seconds: expected no negative delay, got [-1]"),
        ({"retry_delay_seconds": [5, -5]}, "retry_delay_seconds: expected no negative delay, got [5, -5]"),
    ],
)
def test_a_wrong_number_is_refused_with_what_was_expected_and_nothing_is_declared(
    policy: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as refused:
        _declare(**policy)

    assert str(refused.value).endswith(message)
    assert registry.registered("visit") is None


NAN = float("nan")


@pytest.mark.parametrize(
    "policy",
    [{"retry_jitter_factor": NAN}, {"timeout_seconds": NAN}, {"batch_size": NAN}, {"retry_delay_seconds": [1, NAN]}],
    ids=lambda policy: next(iter(policy)),
)
def test_what_is_not_a_number_is_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        _declare(**policy)


def _takes_nothing() -> None: ...
def _takes_two(payload: Visit, other: Visit) -> None: ...
def _takes_any_number(*payload: Visit) -> None: ...
def _takes_names(**payload: Visit) -> None: ...
def _not_annotated(payload) -> None: ...  # type: ignore[no-untyped-def]
def _takes_a_dict(payload: dict[str, Any]) -> None: ...
def _takes_either(payload: Visit | None) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_takes_nothing, "_takes_nothing: a processor takes exactly one parameter, its payload; got 0"),
        (_takes_two, "_takes_two: a processor takes exactly one parameter, its payload; got 2"),
        (_takes_any_number, "_takes_any_number: a processor takes exactly one parameter, its payload"),
        (_takes_names, "_takes_names: a processor takes exactly one parameter, its payload"),
        (_not_annotated, "_not_annotated: annotate the parameter 'payload' .*got .?no annotation"),
        (_takes_a_dict, r"_takes_a_dict: annotate the parameter 'payload' .*got dict\["),
        (_takes_either, "_takes_either: annotate the parameter 'payload' .*Visit"),
    ],
)
def test_a_function_that_takes_no_payload_model_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        processor(function)
    assert registry.registered(function.__name__) is None


def test_a_payload_model_may_be_declared_where_the_processor_is() -> None:
    class Local(BaseModel):
        name: str = "here"

    @processor
    def visit(payload: Local) -> str:
        return payload.name

    @processor(retries=0)
    def other(payload: Local) -> str:
        return payload.name

    assert visit.fn({}) == "here"
    assert _declared("other").payload is Local


# --- The name ---


def test_two_functions_of_one_name_are_refused_and_the_first_stays() -> None:
    first = _declare(retries=1)

    with pytest.raises(ValueError, match="'visit' is declared twice: by .*_declare.* and by .*; give one of them"):

        @processor
        def visit(payload: Visit) -> None: ...

    assert registry.registered("visit") is first


def test_the_same_function_may_be_declared_again_with_another_policy() -> None:
    _declare(retries=1)
    assert _declare(retries=9).max_retries == 9
    assert _declared().max_retries == 9


# --- The payload, called directly ---


@pytest.mark.parametrize(
    "payload",
    [{"customer_id": "c", "minutes": 5}, {"customerId": "c", "minutes": "5"}, Visit(customer_id="c", minutes=5)],
)
def test_a_processor_takes_its_payload_as_a_dict_or_a_model(payload: Any) -> None:
    @processor
    def visit(payload: Visit) -> tuple[str, int]:
        return payload.customer_id, payload.minutes

    @processor
    async def other(payload: Visit) -> tuple[str, int]:
        return payload.customer_id, payload.minutes

    assert visit.fn(payload) == visit.fn(payload=payload) == ("c", 5)
    assert asyncio.run(other.fn(payload)) == ("c", 5)


@pytest.mark.parametrize("payload", [{}, {"customer_id": "c", "customer": "unknown"}, None, "c", {"customer_id": 5}])
def test_a_payload_that_does_not_fit_does_not_reach_the_function(payload: Any) -> None:
    reached: list[Visit] = []

    @processor
    def visit(payload: Visit) -> None:
        reached.append(payload)

    with pytest.raises(ValidationError):
        visit.fn(payload)
    assert not reached
