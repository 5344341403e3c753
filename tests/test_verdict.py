"""The overview's one sentence: every case of it, and what holds for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.verdict import Ended, Facts, Waiting, verdict
from models.payments_in_doubt import Doubt, PaymentsInDoubt

#: Ten minutes late, as the sentence is specified: 4 min behind, about 12 min left.
LATE = Waiting("send_promotion", 1200, 240.0)


def sentence(facts: Facts) -> str:
    return verdict(facts)[0].sentence


def test_nothing_wrong_is_healthy() -> None:
    assert [(each.level, each.sentence) for each in verdict(Facts(workers=2))] == [("good", "Healthy")]


def test_an_idle_system_without_workers_is_healthy() -> None:
    assert sentence(Facts(workers=0)) == "Healthy"


@pytest.mark.parametrize(
    ("drain", "words"),
    [
        ((720.0, 720.0), "draining, about 12 min left"),
        ((240.0, 720.0), "draining, 4 min to 12 min left"),
        ((20.0, 30.0), "draining, under a minute left"),
        ((240.0, None), "it drains now and then, no end can be told"),
    ],
)
def test_a_late_type_is_named_with_how_late_and_how_much_longer(
    drain: tuple[float, float | None], words: str
) -> None:
    assert sentence(Facts(workers=1, waiting=[LATE], drain_seconds=drain)) == (
        f"`send_promotion` is 4 min behind; {words}"
    )


def test_a_queue_that_does_not_shrink_is_bad() -> None:
    found = verdict(Facts(workers=1, waiting=[LATE]))[0]
    assert found.level == "bad"
    assert found.sentence == "`send_promotion` is 4 min behind and not draining; 1,200 jobs wait"
    assert (found.page, found.place) == ("queue", {"only": "send_promotion"})


def test_waiting_jobs_and_no_worker_come_first() -> None:
    found = verdict(Facts(workers=0, waiting=[LATE], ended=[Ended("note", 100, 20)]))
    assert found[0].sentence == "1,200 jobs wait and no worker runs; start one: `jobs worker`"
    assert "is 4 min behind" not in " ".join(each.sentence for each in found)


def test_a_type_that_somebody_paused_is_no_alarm() -> None:
    found = verdict(Facts(workers=1, waiting=[Waiting("note", 1, 900.0, paused=True)]))[0]
    assert (found.level, found.sentence) == ("notice", "`note` is paused; 1 job waits")


def test_a_held_type_says_by_what_and_for_how_long() -> None:
    held = Waiting("note", 3, 90.0, held_seconds=120.0, held_reason="smtp: connection refused")
    assert sentence(Facts(workers=1, waiting=[held], drain_seconds=(1.0, 1.0))) == (
        "`note` is held for 2 min: `smtp: connection refused`; 3 jobs wait"
    )


def test_failures_count_from_a_handful_that_is_a_tenth() -> None:
    assert sentence(Facts(workers=1, ended=[Ended("note", 36, 4)])) == "Healthy"
    assert sentence(Facts(workers=1, ended=[Ended("note", 995, 5)])) == "Healthy"
    found = verdict(Facts(workers=1, ended=[Ended("note", 35, 5)]))[0]
    assert (found.level, found.sentence) == ("warning", "`note` fails: 5 of 40 jobs (12.5%) in the last 15 min")
    assert (found.page, found.place) == ("failed", {"only": "note"})
    assert verdict(Facts(workers=1, ended=[Ended("note", 5, 5)]))[0].level == "bad"


def test_silent_workers_are_told_with_what_they_hold() -> None:
    assert sentence(Facts(workers=1, silent_workers=1, jobs_of_silent=2)) == (
        "1 worker is silent; its 2 jobs will be put back into the queue"
    )


def test_the_store_is_mentioned_before_it_is_slow() -> None:
    assert sentence(Facts(workers=1, store_warnings=["many dead rows", "an old transaction"])) == (
        "The database needs a look: `many dead rows` and 1 more"
    )


def test_payments_that_wait_for_the_bank_are_no_alarm_and_those_that_nobody_asks_about_are() -> None:
    old, new = Doubt(5, 2, 180_000.0, "i-1", "job-1"), Doubt(3, 0, 3599.0, "i-2", "job-2")
    assert sentence(Facts(workers=1, payments=PaymentsInDoubt(new, new))) == "Healthy"
    forgotten, waiting = verdict(Facts(workers=1, payments=PaymentsInDoubt(old, old)))
    assert (waiting.level, waiting.page, waiting.place) == ("notice", "job", {"id": "job-1"})
    assert waiting.sentence == (
        "2 payments have waited over 1 h for the bank's answer; the oldest, of invoice `i-1`, 2 d 2 h"
    )
    assert (forgotten.level, forgotten.page, forgotten.place) == ("warning", "job", {"id": "job-1"})
    assert forgotten.sentence == (
        "no job asks Stripe any more about 2 payments in doubt for over 1 h; the oldest, of invoice `i-1`, 2 d 2 h:"
        " retry their jobs, or add some"
    )


waits = st.builds(
    Waiting,
    job_type=st.text(max_size=50),
    due=st.integers(0, 10_000),
    oldest_seconds=st.floats(0, 1e7),
    capped=st.booleans(),
    paused=st.booleans(),
    held_seconds=st.none() | st.floats(-100, 3600),
    held_reason=st.none() | st.text(max_size=200),
)
doubts = st.builds(
    Doubt, st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0, 1e7), st.text(max_size=50),
    st.none() | st.text(max_size=50),
)  # fmt: skip
all_facts = st.builds(
    Facts,
    workers=st.integers(0, 9),
    silent_workers=st.integers(0, 9),
    jobs_of_silent=st.integers(0, 99),
    waiting=st.lists(waits, max_size=6),
    ended=st.lists(
        st.builds(Ended, st.text(max_size=50), st.integers(0, 10_000), st.integers(0, 10_000)), max_size=6
    ),
    drain_seconds=st.none() | st.tuples(st.floats(0, 1e7), st.none() | st.floats(0, 1e7)),
    store_warnings=st.lists(st.text(max_size=100), max_size=3),
    payments=st.builds(PaymentsInDoubt, doubts, doubts),
)


@given(all_facts)
def test_the_worst_comes_first_and_healthy_stands_alone(facts: Facts) -> None:
    found = verdict(facts)
    order = ["bad", "warning", "notice", "good"]
    assert [order.index(each.level) for each in found] == sorted(order.index(each.level) for each in found)
    assert all(each.sentence and "\n" not in each.sentence for each in found)
    assert ("Healthy" in [each.sentence for each in found]) == (len(found) == 1 and found[0].level == "good")


@given(all_facts)
def test_late_work_with_a_worker_is_never_called_healthy(facts: Facts) -> None:
    if any(each.due and each.oldest_seconds > 60 for each in facts.waiting) and facts.workers:
        assert verdict(facts)[0].level != "good"


@given(all_facts)
def test_every_number_more_of_failures_is_never_less_bad(facts: Facts) -> None:
    more = Facts(
        workers=facts.workers,
        silent_workers=facts.silent_workers,
        jobs_of_silent=facts.jobs_of_silent,
        waiting=facts.waiting,
        ended=[Ended(each.job_type, each.completed, each.failed * 2 + 10) for each in facts.ended],
        drain_seconds=facts.drain_seconds,
        store_warnings=facts.store_warnings,
        payments=facts.payments,
    )
    order = ["bad", "warning", "notice", "good"]
    assert order.index(verdict(more)[0].level) <= order.index(verdict(facts)[0].level)
