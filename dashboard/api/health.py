"""Whether this process lives, and whether it can do its work. Open to all, as those who ask have no token."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from dashboard.api.description import answers
from dashboard.api.problems import STORE_ERRORS, store_away
from models.reading import reading
from models.schema import SchemaError, known_revisions

#: Whoever asks for readiness waits a second or two, and asks again soon.
PATIENCE_SECONDS = 1.0

open_to_all = APIRouter(tags=["health"], responses=answers(500))


class Alive(BaseModel):
    model_config = {"json_schema_extra": {"example": {"status": "ok"}}}

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    model_config = {"json_schema_extra": {"example": {"status": "ready"}}}

    status: Literal["ready"] = "ready"


@open_to_all.get("/healthz", operation_id="isAlive", summary="Does this process answer?")
async def is_alive() -> Alive:
    """Always ok; asks nothing of the database."""
    return Alive()


@open_to_all.get(
    "/readyz",
    operation_id="isReady",
    summary="Can it do its work?",
    response_model=Ready,
    responses=answers(503),
)
def is_ready(request: Request) -> Ready | Response:
    """ready: the database answers, and its schema is this code's."""
    try:
        with reading(timeout=PATIENCE_SECONDS) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is None or row[0] != known_revisions()[-1]:
            raise SchemaError(f"the schema is at revision {row and row[0]}, this code needs {known_revisions()[-1]}")
    except STORE_ERRORS as error:
        return store_away(request.scope, error)
    return Ready()
