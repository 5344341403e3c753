"""A processor that is given a whole batch: when its call fails, only the jobs at fault do, for a bound of calls."""

from __future__ import annotations

import math

import pytest
from batches import claimed_batch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import query, value

from flows.testing import run_due_jobs
from models import job_queue, registry
from tasks import processor
from tasks.splitting import MOST_TIMEOUTS, PARTS, Patience
from tests.running import Rows
from tests.sample_processors import Named, all_or_none, calls_over, hangs_together

pytestmark = pytest.mark.usefixtures("samples")


def add(task: str, names: list[str], **columns: int) -> list[str]:
    """The jobs' ids, in the order in which they will be claimed."""
    calls_over.clear()
    return job_queue.add_batch([{"type": task, "payload": {"name": name}, **columns} for name in names])


def most_calls(jobs: int, bad: int) -> int:
    """The first call, and the parts of each that fails: at each depth at most as many as there are bad jobs."""
    depth = math.ceil(round(math.log(jobs, PARTS), 9))
    return 1 + PARTS * sum(min(bad, PARTS**level) for level in range(depth))


def by_status(task: str) -> dict[str, int]:
    return dict(query("SELECT status, count(*) FROM background_jobs WHERE job_type = %s GROUP BY 1", task))


@pytest.fixture
def steady(samples: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call counts as one time-out at most: a second's pause of a busy machine would be all of these short ones."""

    limit = registry.load()[hangs_together.name].timeout_seconds
    assert limit is not None

    class Steady(Patience):
        def failed(self, error: BaseException, seconds: float) -> None:
            super().failed(error, min(seconds, limit))

    monkeypatch.setattr("tasks.batch.Patience", Steady)


batches = st.lists(st.booleans(), min_size=1, max_size=70)


def test_whichever_jobs_are_bad_exactly_those_fail_and_the_others_have_their_effect_once(samples: Rows) -> None:
    @settings(max_examples=40, database=None)
    @given(batches)
    @example([True] * 64)
    @example([False] * 63 + [True])
    def holds(bad: list[bool]) -> None:
        query("TRUNCATE background_jobs, scratch.effects CASCADE")
        names = [f"{'bad' if is_bad else 'good'} {number}" for number, is_bad in enumerate(bad)]
        ids = add(all_or_none.name, names)

        run_due_jobs(all_or_none.name)

        failed = query("SELECT id, error_message FROM background_jobs WHERE status = 'failed'")
        assert dict(failed) == {
            job_id: f"{name} is bad" for job_id, name in zip(ids, names, strict=True) if name.startswith("bad")
        }
        assert by_status(all_or_none.name).get("completed", 0) == len(bad) - sum(bad)
        effects = [row[0] for row in query("SELECT job_id FROM scratch.effects")]
        assert sorted(effects) == sorted(name for name in names if name.startswith("good"))
        assert len(calls_over) <= most_calls(len(bad), sum(bad))

    holds()


def test_one_bad_job_among_a_thousand_costs_twenty_calls_more(samples: Rows) -> None:
    add(all_or_none.name, [f"good {number}" for number in range(789)] + ["bad"] + ["good"] * 210)

    run_due_jobs(all_or_none.name)

    assert by_status(all_or_none.name) == {"completed": 999, "failed": 1}
    assert calls_over[:5] == [1000, 250, 250, 250, 250], "what is fine does not wait"
    assert len(calls_over) == 21


@pytest.mark.usefixtures("steady")
def test_one_job_that_hangs_costs_six_time_outs_and_the_others_no_attempt(samples: Rows) -> None:
    add(hangs_together.name, ["fine"] * 999 + ["hangs"], max_retries=0)

    run_due_jobs(hangs_together.name)

    assert by_status(hangs_together.name) == {"completed": 999, "failed": 1}
    assert len(calls_over) <= most_calls(1000, bad=1) == 21


@pytest.mark.usefixtures("steady")
def test_when_every_call_hangs_all_share_the_error_after_some_time_outs(samples: Rows) -> None:
    add(hangs_together.name, ["hangs"] * 1000)

    run_due_jobs(hangs_together.name)

    assert by_status(hangs_together.name) == {"pending": 1000}
    assert query("SELECT retry_count, error_message, count(*) FROM background_jobs GROUP BY 1, 2") == [
        (1, "hangs_together took longer than its 0.05 s", 1000)
    ]
    # A clock may round a time-out down.
    assert len(calls_over) <= MOST_TIMEOUTS + 1
    assert 1 in calls_over, "some of them were tried alone by then"


@pytest.mark.usefixtures("steady")
def test_once_a_call_has_succeeded_no_job_is_given_up_untried(samples: Rows) -> None:
    names = (["hangs"] * 3 + ["fine"]) * 16
    add(hangs_together.name, names, max_retries=0)

    run_due_jobs(hangs_together.name)

    assert by_status(hangs_together.name) == {"completed": 16, "failed": 48}
    assert len(calls_over) > 3 * MOST_TIMEOUTS


def test_a_snooze_that_is_raised_puts_off_all_of_the_call(samples: Rows) -> None:
    add(all_or_none.name, ["good", "not yet", "good"])

    run_due_jobs(all_or_none.name)

    assert calls_over == [3]
    assert by_status(all_or_none.name) == {"pending": 3}
    assert query("SELECT retry_count, progress_note, count(*) FROM background_jobs GROUP BY 1, 2") == [
        (0, "not before noon", 3)
    ]
    assert value("SELECT count(*) FROM scratch.effects") == 0


def test_a_job_that_is_taken_away_between_two_calls_is_in_none_of_the_later_ones(samples: Rows) -> None:
    seen: list[list[str]] = []

    @processor(retries=0)
    async def breaks_over_many(payloads: list[Named]) -> list[None]:
        seen.append([payload.name for payload in payloads])
        batch.interrupt({ids[1]})
        if len(payloads) > 1:
            raise ConnectionError("too many")
        return [None]

    ids = add(breaks_over_many.name, ["a", "b", "c"])
    try:
        with claimed_batch(breaks_over_many.name) as batch:
            batch.run()
    finally:
        registry.unregister(breaks_over_many.name)

    assert seen == [["a", "b", "c"], ["a"], ["c"]]
    assert by_status(breaks_over_many.name)["completed"] == 2
