"""`@processor` makes a function a job type: a Prefect task with its policy, and the batch task that the worker runs."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, overload

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from models import registry
from tasks.batch import run_batch
from tasks.errors import PermanentError

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_RETRIES = 3
#: 5, 10, 20 s, ...: long enough for a service to come back, short enough for a drain to wait for the first ones.
DEFAULT_BACKOFF = exponential_backoff(5)
#: Each delay is lengthened by up to this share, so that what failed together does not come back together.
DEFAULT_JITTER = 0.5
DEFAULT_TIMEOUT_SECONDS = 60.0
#: Prefect takes at most this many delays; a row with more retries repeats the last.
_MOST_DELAYS = 50

Delays = float | list[float] | Callable[[int], list[float]]


class Payload(BaseModel):
    """Base of payload models: unknown fields are refused, and `customerId` is taken for `customer_id`."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


@overload
def processor(function: Function, /) -> Task[Any, Any]: ...
@overload
def processor(
    *,
    retries: int = ...,
    retry_delay_seconds: Delays = ...,
    retry_jitter_factor: float = ...,
    timeout_seconds: float | None = ...,
    batch_size: int | None = ...,
    services: tuple[str, ...] = ...,
) -> Callable[[Function], Task[Any, Any]]: ...
def processor(
    function: Callable[..., Any] | None = None,
    /,
    *,
    retries: int = DEFAULT_RETRIES,
    retry_delay_seconds: Delays = DEFAULT_BACKOFF,
    retry_jitter_factor: float = DEFAULT_JITTER,
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
    batch_size: int | None = None,
    services: tuple[str, ...] = (),
) -> Any:
    """Declares a job type named after the function; its payload model is the annotation of its one parameter.

    Bare (`@processor`) or with a policy. The function may be `async def` (all of them share one event loop: never block
    it) or `def` (runs in a thread). What it returns, JSON or a pydantic model, is kept as the job's result.

    Annotated with a list of payloads (`payloads: list[Invoice]`), the function is given a whole batch, up to a thousand
    jobs, for one transaction instead of a thousand: it returns a list with what came of each, in order, a result or an
    exception. When it raises, nothing of the batch may have happened; it is then called again with parts of the batch,
    down to single jobs, so that only those at fault fail. A `Snooze` that it raises puts all of the call off. When no
    call has succeeded and those that failed have taken 20 time-outs, all jobs that are left share the last error.

    Args:
        retries: attempts after the first, where the job does not say otherwise.
        retry_delay_seconds: seconds before each retry: one number, a list, or `exponential_backoff(factor)`; never more
            than an hour.
        retry_jitter_factor: each delay is lengthened at random by up to this share.
        timeout_seconds: an attempt that takes longer fails and is retried; None: no limit. An `async def` is cancelled
            at its next await; a `def` cannot be stopped: its thread runs on, unheeded, and what it does then happens
            beside the retry.
        batch_size: jobs of one batch that run at once; None: JOB_QUEUE_BATCH_SIZE.
        services: the outside services it cannot do without (`tasks.services.service.Service`): while the circuit
            breaker of one is open, no job of this type is claimed by any worker.

    Returns:
        A Prefect task. Called in a flow or notebook with a payload (the model, or a dict), it runs that one payload
        with Prefect's own retries; from the queue the same policy becomes the job's next `scheduled_for`.

    Raises:
        TypeError: when the function does not take exactly one payload model.
        ValueError: when a number is out of range, or the name is taken by another function.
    """
    declare = functools.partial(
        _declare,
        retries=retries,
        retry_delay_seconds=retry_delay_seconds,
        retry_jitter_factor=retry_jitter_factor,
        timeout_seconds=timeout_seconds,
        batch_size=batch_size,
        services=services,
        # Where the annotation of a function that is defined in another one is looked up.
        namespace=sys._getframe(1).f_locals,
    )
    return declare if function is None else declare(function)


def _declare(
    function: Callable[..., Any],
    *,
    retries: int,
    retry_delay_seconds: Delays,
    retry_jitter_factor: float,
    timeout_seconds: float | None,
    batch_size: int | None,
    services: tuple[str, ...],
    namespace: dict[str, Any],
) -> Task[Any, Any]:
    name = function.__name__
    _check_policy(name, retries, retry_jitter_factor, timeout_seconds, batch_size)
    payload, takes_many = _payload_model(function, namespace)
    _check_services(name, services)
    delays = _delays(retry_delay_seconds)
    description = inspect.getdoc(function) or ""
    shared: dict[str, Any] = {"persist_result": False, "cache_policy": NO_CACHE, "description": description}
    task = Task(
        _taking_dicts(_taking_one(function) if takes_many else function, payload),
        name=name,
        retries=retries,
        # Prefect takes as many delays as there are retries, and no empty list.
        retry_delay_seconds=list(delays[: max(retries, 1)]) if retries else None,
        retry_jitter_factor=retry_jitter_factor or None,
        timeout_seconds=timeout_seconds,
        retry_condition_fn=_is_transient,
        **shared,
    )
    batch_task = Task(run_batch, name=f"{name}_batch", task_run_name="{batch}", **shared)
    registry.register(
        registry.JobType(
            name=name,
            payload=payload,
            run=function,
            task=task,
            batch_task=batch_task,
            description=description,
            max_retries=retries,
            retry_delays=delays,
            retry_jitter=retry_jitter_factor,
            timeout_seconds=timeout_seconds,
            batch_size=batch_size,
            takes_many=takes_many,
            services=services,
        )
    )
    return task


def _check_policy(
    name: str, retries: int, jitter: float, timeout: float | None, batch_size: int | None
) -> None:
    # Asked for what is right, so that NaN, of which no comparison is true, is refused too.
    if not 0 <= retries <= _MOST_DELAYS:
        raise ValueError(f"{name}: retries: expected 0 to {_MOST_DELAYS}, got {retries}")
    if not jitter >= 0:
        raise ValueError(f"{name}: retry_jitter_factor: expected 0 or more, got {jitter}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"{name}: timeout_seconds: expected more than 0 or None, got {timeout}")
    if batch_size is not None and not batch_size >= 1:
        raise ValueError(f"{name}: batch_size: expected 1 or more or None, got {batch_size}")


def _check_services(name: str, services: tuple[str, ...]) -> None:
    for service in services:
        if not isinstance(service, str) or not service.isidentifier():
            raise ValueError(f"{name}: services: expected names such as 'smtp', got {service!r:.60}")


def _payload_model(function: Callable[..., Any], namespace: dict[str, Any]) -> tuple[type[BaseModel], bool]:
    """The payload's model, and whether the function takes a list of them."""
    name = getattr(function, "__name__", repr(function))
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 1 or parameters[0].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise TypeError(f"{name}: a processor takes exactly one parameter, its payload; got {len(parameters)}")
    model = get_type_hints(function, localns=namespace).get(parameters[0].name)
    takes_many = get_origin(model) is list
    if takes_many:
        (model,) = get_args(model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(
            f"{name}: annotate the parameter {parameters[0].name!r} with a pydantic model (a subclass of "
            f"tasks.Payload) or a list of them, got {'no annotation' if model is None else model!r}"
        )
    return model, takes_many


def _delays(declared: Delays) -> tuple[float, ...]:
    if callable(declared):
        declared = declared(_MOST_DELAYS)
    if isinstance(declared, int | float):
        declared = [declared]
    if not all(delay >= 0 for delay in declared):
        raise ValueError(f"retry_delay_seconds: expected no negative delay, got {declared}")
    return tuple(min(float(delay), registry.LONGEST_RETRY_DELAY_SECONDS) for delay in declared[:_MOST_DELAYS])


def _taking_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function over a whole batch, as one over a single payload."""

    def only(results: list[Any]) -> Any:
        (result,) = results
        if isinstance(result, BaseException):
            raise result
        return result

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(payload: Any) -> Any:
            return only(await function([payload]))

        call: Callable[..., Any] = call_async
    else:

        @functools.wraps(function)
        def call_now(payload: Any) -> Any:
            return only(function([payload]))

        call = call_now
    # Not the wrapped function's signature: Prefect reads the parameters from it.
    del call.__wrapped__  # type: ignore[attr-defined]
    call.__annotations__ = {}
    return call


def _taking_dicts(function: Callable[..., Any], payload: type[BaseModel]) -> Callable[..., Any]:
    """The function with its payload checked, so that a notebook may hand over a dict as the queue does."""
    signature = inspect.signature(function)

    def checked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseModel:
        (value,) = signature.bind(*args, **kwargs).arguments.values()
        return payload.model_validate(value)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await function(checked(args, kwargs))

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(checked(args, kwargs))

    return call


def _is_transient(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Prefect's question before a retry; a plain function, as 3.8.8 takes anything else for a no."""
    error = state.data if isinstance(state.data, BaseException) else getattr(state.data, "result", None)
    return not isinstance(error, PermanentError)
