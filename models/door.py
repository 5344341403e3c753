"""The checks at the door: what may become a job. Everything that adds one passes here, and the worker's claim too."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jsonschema
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from models import database, registry
from models.ids import new_job_id
from models.priority import HIGHEST_PRIORITY, LOWEST_PRIORITY

#: 1 MiB of JSON text. Larger things belong into a table or file of their own, and their id into the payload.
PAYLOAD_LIMIT_BYTES = 1 << 20
#: The table's own bound; more is a mistake.
MOST_RETRIES = 1000
#: PostgreSQL's index rows end at about 2,700 bytes.
UNIQUE_KEY_LIMIT = 500
#: The table's own bounds, which psycopg can read back as datetimes.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
#: How long a process without the processors believes what it read from `job_types`.
DECLARED_TYPES_SECONDS = 5.0

_Keyword = Callable[[Any, Any, Any, Any], Iterable[Any] | None]

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class InvalidJobError(ValueError):
    """What was handed in cannot become a job; the message says what was expected and what came."""


class PayloadTooLargeError(InvalidJobError):
    """The payload is over the limit."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that passed the door; `payload` is JSON text, `scheduled_for` None means now by the database's clock."""

    id: str
    job_type: str
    payload: str
    priority: int
    max_retries: int
    scheduled_for: datetime | None
    unique_key: str | None


def check_job(
    *,
    type: str,
    payload: Mapping[str, Any] | BaseModel | None = None,
    priority: int = 5,
    max_retries: int | None = None,
    scheduled_for: datetime | None = None,
    unique_key: str | None = None,
) -> NewJob:
    """The job these values make.

    Raises:
        InvalidJobError: for anything that could not run as it stands; says what was expected and what came.
    """
    declared = _declared_type(type)
    text = payload_text({} if payload is None else payload)
    declared.check(text)
    if not _is_int(priority) or not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidJobError(
            f"priority: expected a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, got {_shown(priority)}"
        )
    if max_retries is None:
        max_retries = declared.max_retries
    if not _is_int(max_retries) or not 0 <= max_retries <= MOST_RETRIES:
        raise InvalidJobError(
            f"max_retries: expected a whole number from 0 to {MOST_RETRIES}, got {_shown(max_retries)}"
        )
    due = _checked_time(scheduled_for)
    _check_unique_key(unique_key)
    return NewJob(new_job_id(), declared.name, text, int(priority), int(max_retries), due, unique_key)


def payload_text(payload: Any) -> str:
    """The payload as the JSON text that is stored.

    Raises:
        InvalidJobError: when it is no JSON object or holds a NUL character.
        PayloadTooLargeError: when it is over the limit.
    """
    if not isinstance(payload, Mapping | BaseModel):
        raise InvalidJobError(f"payload: expected a JSON object (a dict), got {_kind(payload)}")
    try:
        if isinstance(payload, BaseModel):
            payload = payload.model_dump(mode="json", round_trip=True)
        if not all(isinstance(key, str) for key in payload):
            raise TypeError("keys that are " + ", ".join(sorted({_kind(key) for key in payload})))
        text = json.dumps(dict(payload), ensure_ascii=False, allow_nan=False)
        size = len(text.encode("utf-8"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJobError(f"payload: expected what JSON can hold, got something else: {error}") from None
    # Plain search first: the pattern alone takes 25 ms for a megabyte.
    if "\\u0000" in text and _NUL.search(text):
        raise InvalidJobError("payload: expected no NUL characters, which PostgreSQL cannot store, got at least one")
    if size > PAYLOAD_LIMIT_BYTES:
        raise PayloadTooLargeError(
            f"payload: expected at most {PAYLOAD_LIMIT_BYTES:,} bytes of JSON, got {size:,}; store it elsewhere and "
            "put its id into the payload"
        )
    return text


def parse_payload(job_type: registry.JobType, text: str | None) -> BaseModel:
    """The payload as the type's model; `text` None stands for one over the limit.

    Raises:
        InvalidJobError: when it does not fit (PayloadTooLargeError: when it is over the limit).
    """
    if text is None:
        raise PayloadTooLargeError(f"payload: expected at most {PAYLOAD_LIMIT_BYTES:,} bytes of JSON, got more")
    try:
        return job_type.payload.model_validate_json(text)
    except ValidationError as error:
        raise InvalidJobError(_misfit(job_type, error)) from None


def _misfit(job_type: registry.JobType, error: ValidationError) -> str:
    hidden = registry.hides_input(job_type.payload)
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in problem["loc"]) or "payload"
        if hidden:
            # A field that does not exist may be named by what should not be seen.
            where = "a field" if problem["type"] == "extra_forbidden" else where
            problems.append(f"{where:.100}: {problem['msg']}")
        else:
            problems.append(f"{where:.100}: {problem['msg']}, got {_shown(problem['input'])}")
    return f"payload does not fit {job_type.name}: " + "; ".join(problems[:5])


class _DeclaredType:
    """What the door needs of a type, from the code when its module is imported here, else from `job_types`."""

    def __init__(
        self, name: str, max_retries: int, code: registry.JobType | None, schema: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.max_retries = max_retries
        self._code = code
        self._schema = _Validator(schema) if schema is not None else None
        self._hides_input = schema is not None and schema.get(registry.HIDES_INPUT) is True

    def check(self, text: str) -> None:
        if self._code is not None:
            parse_payload(self._code, text)
        if self._schema is not None:
            try:
                # The worker's parser, with its bounds on depth and digits.
                problem = jsonschema.exceptions.best_match(self._schema.iter_errors(from_json(text)))
            except (ValueError, RecursionError) as error:
                raise InvalidJobError(f"payload: expected JSON that a worker can read, got: {error!s:.300}") from None
            if problem is not None:
                where = ".".join(str(part) for part in problem.absolute_path) or "payload"
                said = problem.message
                if self._hides_input:
                    said = f"expected what the type's schema says ({problem.validator})"
                raise InvalidJobError(f"payload does not fit {self.name}: {where:.100}: {said:.300}")


def _by_field_name(check: _Keyword) -> _Keyword:
    """A check of JSON Schema that takes a field by its other name too, as the payload model does (`customerId`)."""

    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[Any] | None:
        names = schema.get(registry.ALIASES)
        if names and isinstance(instance, dict):
            # Given under both names, the one is a field and the other unknown.
            instance = {key if names.get(key, key) in instance else names[key]: item for key, item in instance.items()}
        return check(validator, value, instance, schema)

    return checked


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {
        keyword: _by_field_name(jsonschema.Draft202012Validator.VALIDATORS[keyword])
        for keyword in ("properties", "required", "additionalProperties")
    },
)

_declared: dict[str, _DeclaredType] = {}
_declared_until = 0.0
_declared_lock = threading.Lock()


def _declared_type(name: Any) -> _DeclaredType:
    if not isinstance(name, str):
        raise InvalidJobError(f"type: expected the name of a job type, got {_kind(name)}")
    code = registry.registered(name)
    if code is None:
        # Cheap first: a web process that only adds jobs never pays for importing Prefect.
        found = _from_database(name)
        if found is not None:
            return found
        code = registry.load().get(name)
    if code is None:
        known = ", ".join(sorted({*registry.load(), *_declared}))
        raise InvalidJobError(f"type: expected one of {known}, got {_shown(name)}")
    return _DeclaredType(name, code.max_retries, code)


def _from_database(name: str) -> _DeclaredType | None:
    global _declared_until
    with _declared_lock:
        if time.monotonic() > _declared_until:
            # A connection of its own: the callers may hold all of the pool's, adding jobs in sessions of theirs.
            database.engine()
            with database.connect() as connection:
                rows = connection.execute("SELECT job_type, max_retries, payload_schema FROM job_types").fetchall()
            _declared.clear()
            _declared.update({row[0]: _DeclaredType(row[0], row[1], None, row[2]) for row in rows})
            _declared_until = time.monotonic() + DECLARED_TYPES_SECONDS
        return _declared.get(name)


def forget_declared_types() -> None:
    """Reads `job_types` again at the next check (after a change of database)."""
    global _declared_until
    with _declared_lock:
        _declared.clear()
        _declared_until = 0.0


def _checked_time(value: Any) -> datetime | None:
    """The time in UTC: PostgreSQL does not know every offset that Python does."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidJobError(f"scheduled_for: expected a datetime with a time zone or None, got {_kind(value)}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidJobError(
            f"scheduled_for: expected a datetime with a time zone, got the naive {value.isoformat()}; "
            "use datetime.now(UTC) or add tzinfo"
        )
    try:
        due = value.astimezone(UTC)
    except OverflowError:
        due = None
    if due is None or not EARLIEST <= due <= LATEST:
        raise InvalidJobError(f"scheduled_for: expected a time from 1970 to 9998, got {value.isoformat()}")
    return due


def _check_unique_key(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value:
        raise InvalidJobError(
            f"unique_key: expected text or None, got {'an empty one' if value == '' else _kind(value)}"
        )
    if "\x00" in value:
        raise InvalidJobError("unique_key: expected no NUL characters, which PostgreSQL cannot store, got at least one")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidJobError("unique_key: expected text that UTF-8 can hold, got a lone surrogate") from None
    if size > UNIQUE_KEY_LIMIT:
        raise InvalidJobError(f"unique_key: expected at most {UNIQUE_KEY_LIMIT} bytes, got {size:,}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.100}"
    except Exception as error:  # a number of over 4,300 digits; a class with a broken __repr__
        return f"a value of type {_kind(value)} that cannot be shown ({error})"


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
