"""The job types this process knows. `tasks` fills it; `models` only reads it, and never imports Prefect itself."""

from __future__ import annotations

import importlib
import json
import pkgutil
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from models import database
from models.jobs import JOB_TYPE_LENGTH
from models.settings import settings
from models.sql import statement

#: Delays beyond this are cut: a job should not be forgotten for a weekend by its own back-off.
LONGEST_RETRY_DELAY_SECONDS = 3600.0
#: In a payload's JSON Schema: the other names of its fields, `{"customerId": "customer_id"}`.
ALIASES = "x-aliases"
#: In a payload's JSON Schema: no message may show what was given (pydantic's `hide_input_in_errors`).
HIDES_INPUT = "x-hides-input"
#: The package whose modules are the project's own processors.
PROCESSOR_PACKAGE = "tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """One job type as the code declares it.

    `retry_delays` are the seconds before each retry (the last one is used for further retries), `retry_jitter`
    lengthens each at random by up to that share, `batch_size` is how many jobs of one batch run at once (None: the
    setting). `takes_many`: `run` is given the payloads of a whole batch, and returns what came of each. `services`:
    what the type cannot run without.
    `task` and `batch_task` are the Prefect tasks made of the processor.
    """

    name: str
    payload: type[BaseModel]
    run: Callable[[Any], Any]
    task: Any
    batch_task: Any
    description: str = ""
    max_retries: int = 3
    retry_delays: tuple[float, ...] = ()
    retry_jitter: float = 0.0
    timeout_seconds: float | None = None
    batch_size: int | None = None
    takes_many: bool = False
    services: tuple[str, ...] = ()

    def retry_delay(self, retry: int, *, chance: Callable[[], float] = random.random) -> float:
        """Seconds before retry number `retry` (1 is the first): its delay, jittered, never over an hour.

        The jitter only lengthens (by 0 to `retry_jitter` of the delay), so that the delay is never under the declared.
        """
        if not self.retry_delays:
            return 0.0
        delay = self.retry_delays[min(retry, len(self.retry_delays)) - 1]
        return min(LONGEST_RETRY_DELAY_SECONDS, delay * (1 + self.retry_jitter * chance()))


class ProcessorImportError(ImportError):
    """A module with processors cannot be imported."""


_types: dict[str, JobType] = {}
_lock = threading.Lock()
#: Not the same lock: who imports a processor by itself meanwhile has its module's lock, and comes to `register`.
_load_lock = threading.RLock()
_loaded = False


def register(job_type: JobType) -> None:
    """Adds a type, or replaces it by the same function's (a notebook cell run again, a module reloaded).

    Raises:
        ValueError: when another function has that name already, or the name does not fit the table.
    """
    if not job_type.name.isidentifier() or len(job_type.name) > JOB_TYPE_LENGTH:
        raise ValueError(
            f"a job type's name is a Python identifier of at most {JOB_TYPE_LENGTH} characters, got {job_type.name!r}"
        )
    with _lock:
        before = _types.get(job_type.name)
        if before is not None and _origin(before) != _origin(job_type):
            raise ValueError(
                f"the job type {job_type.name!r} is declared twice: by {_origin(before)} and by {_origin(job_type)}; "
                "give one of them another name"
            )
        _types[job_type.name] = job_type


def _origin(job_type: JobType) -> str:
    return f"{job_type.run.__module__}.{job_type.run.__qualname__}"


def unregister(name: str) -> None:
    """Forgets a type of this process (tests and notebooks)."""
    with _lock:
        _types.pop(name, None)


def registered(name: str) -> JobType | None:
    """The type if its module has been imported in this process; imports nothing."""
    return _types.get(name)


def load() -> dict[str, JobType]:
    """All job types, by name: imports `tasks` and the modules of JOB_QUEUE_MODULES on first use.

    Raises:
        ProcessorImportError: naming the module that could not be imported and why.
    """
    global _loaded
    with _load_lock:
        if not _loaded:
            package = _import(PROCESSOR_PACKAGE)
            for module in pkgutil.iter_modules(package.__path__, f"{PROCESSOR_PACKAGE}."):
                _import(module.name)
            for name in settings().modules:
                _import(name, "JOB_QUEUE_MODULES names it; is it on the path (PYTHONPATH)?")
            _loaded = True
    with _lock:
        return dict(_types)


def _import(name: str, hint: str = "") -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        message = f"the processors in module {name!r} cannot be imported: {type(error).__name__}: {error}. {hint}"
        raise ProcessorImportError(message.rstrip(". ")) from error


def declare(job_types: dict[str, JobType]) -> None:
    """Writes what the code declares into `job_types`, so that processes without `tasks` know it.

    What operators set there (paused, limits, holds) stays.
    """
    names = sorted(job_types)
    rows = [job_types[name] for name in names]
    with database.transaction() as connection:
        connection.execute(
            statement("declare_types"),
            {
                "job_types": names,
                "descriptions": [row.description for row in rows],
                "schemas": [_schema(row.payload) for row in rows],
                "max_retries": [row.max_retries for row in rows],
                "timeouts": [None if row.timeout_seconds is None else float(row.timeout_seconds) for row in rows],
                "batch_sizes": [row.batch_size for row in rows],
                "services": [",".join(row.services) for row in rows],
            },
        )


class _SchemaWithAliases(GenerateJsonSchema):
    """Fields by their names, and beside them, for the door, what else the model takes for them."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        written = super().model_schema(schema)
        fields = schema["cls"].model_fields.items()
        aliases = {field.alias: name for name, field in fields if field.alias not in (None, name)}
        if hides_input(schema["cls"]):
            written = {**written, HIDES_INPUT: True}
        return {**written, ALIASES: aliases} if aliases else written


def hides_input(payload: type[BaseModel]) -> bool:
    """Whether no message may show what a payload of this model holds, as it may be a secret in the wrong place."""
    return payload.model_config.get("hide_input_in_errors") is True


def _schema(payload: type[BaseModel]) -> str:
    schema = payload.model_json_schema(by_alias=False, schema_generator=_SchemaWithAliases)
    return json.dumps(schema, sort_keys=True)
