"""Adding jobs and hearing which are new."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import job_type, known, value

from models import InvalidJobError
from models.adding import add_jobs

pytestmark = pytest.mark.usefixtures("database", "note")


@pytest.fixture
def note() -> Iterator[None]:
    with known(job_type()):
        yield


def test_a_job_whose_key_is_taken_is_not_new_and_has_the_holders_id() -> None:
    (first,) = add_jobs([{"type": "note", "unique_key": "k"}])
    second, other = add_jobs([{"type": "note", "unique_key": "k"}, {"type": "note"}])
    assert first.added and other.added and not second.added
    assert second.id == first.id != other.id


def test_a_key_twice_in_one_call_is_new_once() -> None:
    first, second = add_jobs([{"type": "note", "unique_key": "k"}, {"type": "note", "unique_key": "k"}])
    assert (first.added, second.added) == (True, False)
    assert first.id == second.id


def test_all_or_none_are_added() -> None:
    with pytest.raises(InvalidJobError, match="job 1: priority"):
        add_jobs([{"type": "note"}, {"type": "note", "priority": 11}])
    assert value("SELECT count(*) FROM background_jobs") == 0


def test_no_jobs_are_no_trouble() -> None:
    assert add_jobs([]) == []
