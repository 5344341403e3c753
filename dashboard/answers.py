"""Reads that fail softly: the last good answer with the time since when it is stale, and why.

`read` never raises for a database or a Prefect that is away; what is ill is left alone for a moment.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, ParamSpec, TypeVar

import httpx
import psycopg
import sqlalchemy.exc
import streamlit as st

from dashboard import prefect_api
from models.filters import Period

#: After a failed read the same one is not tried again for so long: who is ill is not shaken.
PAUSE_SECONDS = 4.0
#: Answers that are kept for the case that the next read fails.
KEPT = 200
P = ParamSpec("P")
T = TypeVar("T")
#: What a read may fail with; anything else is a mistake of ours and is seen as such.
TROUBLE = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, httpx.HTTPError, OSError, prefect_api.PrefectError)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a read gave: `value` (None: nothing yet), and since when it is stale and why, where the read failed."""

    value: T | None
    stale_since: datetime | None = None
    problem: str | None = None


_lock = threading.Lock()
_good: OrderedDict[Hashable, tuple[Any, datetime]] = OrderedDict()
_bad: dict[Hashable, tuple[float, str]] = {}


def read(load: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
    """The answer of one of this module's loaders, or the last good one."""
    key = (getattr(load, "__name__", repr(load)), *(_lasting(each) for each in (*args, *kwargs.values())))
    with _lock:
        failed_at, problem = _bad.get(key, (float("-inf"), ""))
    if time.monotonic() - failed_at >= PAUSE_SECONDS:
        try:
            value = load(*args, **kwargs)
        except TROUBLE as error:
            problem = in_words(error)
            with _lock:
                _bad[key] = (time.monotonic(), problem)
        else:
            with _lock:
                _bad.pop(key, None)
                _good[key] = (value, datetime.now(UTC))
                _good.move_to_end(key)
                while len(_good) > KEPT:
                    _good.popitem(last=False)
            return Answer(value)
    with _lock:
        kept = _good.get(key)
    return Answer(None, None, problem) if kept is None else Answer(kept[0], kept[1], problem)


def forget() -> None:
    """Reads everything anew from here on: after an action its result is seen at once."""
    st.cache_data.clear()
    with _lock:
        _good.clear()
        _bad.clear()


def refresh() -> None:
    """As `forget`, but keeps the last good answers for the case that reading fails."""
    st.cache_data.clear()
    with _lock:
        _bad.clear()


def _lasting(argument: Hashable) -> Hashable:
    # A period moves on with the clock; the last answer for one of its length is better than none.
    if isinstance(argument, Period):
        return argument.length
    return argument


def in_words(error: Exception) -> str:
    """Why a read or an action failed, for people; the error's own words may hold what a row holds."""
    match error:
        case psycopg.errors.QueryCanceled():
            return "the database took longer than 2 s"
        case psycopg.OperationalError() | sqlalchemy.exc.OperationalError() | OSError():
            return "the database does not answer"
        case sqlalchemy.exc.TimeoutError():
            return "the database is busy"
        case prefect_api.PrefectError() | httpx.HTTPError():
            return "Prefect does not answer"
        case _:
            return "the database refused the question"
