"""What the tests of the queue share: a job type, claiming and finishing by hand, and looks at the rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from models import database, registry
from models.claims import Claim, ClaimedJob, Claimer
from models.outcomes import Ending, Failure, Outcome, record

Result = TypeVar("Result")


class Note(BaseModel):
    """A payload that is easily right and easily wrong."""

    model_config = ConfigDict(extra="forbid")

    text: str = "hello"
    copies: int = 1


def keep(payload: Any) -> None:
    """A processor that has nothing to do."""


def job_type(name: str = "note", **declared: Any) -> registry.JobType:
    """A job type without Prefect."""
    values = {"payload": Note, "run": keep, "task": None, "batch_task": None, **declared}
    return registry.JobType(name=name, **values)


@contextmanager
def known(*types: registry.JobType) -> Iterator[None]:
    """Job types that this process knows meanwhile, none of their modules imported."""
    for declared in types:
        registry.register(declared)
    try:
        yield
    finally:
        for declared in types:
            registry.unregister(declared.name)


def query(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        cursor = connection.execute(sql, parameters)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def value(sql: str, *parameters: Any) -> Any:
    return query(sql, *parameters)[0][0]


def insert(**columns: Any) -> str:
    """A row of `background_jobs` by plain SQL, as anybody may write it; returns its id."""
    columns = {"job_type": "note", **columns}
    marks = ", ".join(["%s"] * len(columns))
    sql = f"INSERT INTO background_jobs ({', '.join(columns)}) VALUES ({marks}) RETURNING id"
    return str(value(sql, *columns.values()))


def job(job_id: str) -> dict[str, Any]:
    """The row of a job, by column."""
    with database.transaction() as connection:
        cursor = connection.execute("SELECT * FROM background_jobs WHERE id = %s", [job_id])
        row = cursor.fetchone()
        assert row is not None and cursor.description is not None
        return dict(zip((column.name for column in cursor.description), row, strict=True))


def worker_row(worker_id: str, *, job_types: Sequence[str] = ("note",), beat_age: float = 0.0, **columns: Any) -> None:
    """A row of `workers` whose last beat is that many seconds old."""
    columns = {"host": "here", "pid": 1, "job_types": list(job_types), **columns}
    marks = ", ".join(["%s"] * (len(columns) + 1))
    query(
        f"INSERT INTO workers (worker_id, {', '.join(columns)}, beat_at)"
        f" VALUES ({marks}, now() - %s * interval '1 second')",
        worker_id,
        *columns.values(),
        beat_age,
    )


def held_by(worker_id: str | None, *, age: float = 1.0, **columns: Any) -> str:
    """A running job, claimed that many seconds ago."""
    job_id = insert(status="processing", worker_id=worker_id, **columns)
    query("UPDATE background_jobs SET started_at = now() - %s * interval '1 second' WHERE id = %s", age, job_id)
    return job_id


def claimer(*job_types: str, worker: str = "worker-1", most: int = 50, fair_every: int = 1000) -> Claimer:
    """A claimer at the beginning of its round: its claim number `fair_every` is the first fair one."""
    made = Claimer(
        worker_id=worker, job_types=job_types or ("note",), fair_every=fair_every, batch_limit=lambda name: most
    )
    made._turn = 0
    return made


def claim_all(claims: Claimer) -> list[Claim]:
    """Claims until nothing is due."""
    return list(iter(lambda: found if isinstance(found := claims.claim(), Claim) else None, None))


def outcome(claimed: ClaimedJob, ending: Ending = Ending.COMPLETED, *, name: str = "note", **values: Any) -> Outcome:
    if ending in (Ending.RETRY, Ending.FAILED):
        values.setdefault("failure", Failure("RuntimeError", "it did not work"))
    return Outcome(job=claimed, job_type=name, ending=ending, **{"elapsed": 0.1, "waited": 0.2, "ran": 0.1, **values})


def finish(
    claim: Claim, ending: Ending = Ending.COMPLETED, *, worker: str = "worker-1", **values: Any
) -> list[Outcome]:
    """Records one ending for all jobs of a claim; returns what was refused."""
    return record(worker, [outcome(claimed, ending, name=claim.job_type, **values) for claimed in claim.jobs])


def on_one_day(seconds: float = 60.0) -> None:
    """Waits for midnight (UTC) when it is nearer than that: what follows must not begin one day and end on the next."""
    left = 86_400 - time.time() % 86_400
    if left < seconds:
        time.sleep(left + 0.1)


def at_once(threads: int, work: Callable[[int], Result]) -> list[Result]:
    """Calls `work` with 0, 1, ... in as many threads, which all begin together."""
    ready = threading.Barrier(threads)

    def begin(number: int) -> Result:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))
