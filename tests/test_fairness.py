"""How long a job can be passed over: at most fair_every * (k / n + L) claims, whatever urgent jobs keep arriving.

k: older jobs that still wait; n: jobs a claim; L: lanes (a job type at one priority) that hold them. Times are ticks of
a second in the past, so that no clock plays a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import claimer, job, query, value

from models.claims import Claim, Claimer

TYPES = ("mail", "note", "sync")
BEGIN = datetime.now(UTC) - timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("database")

#: (job type, priority)
Lane = tuple[str, int]
lanes = st.tuples(st.sampled_from(TYPES), st.integers(1, 10))
#: At most a handful of lanes an example: the more there are, the looser the bound.
few_lanes = st.lists(lanes, min_size=1, max_size=5, unique=True)


def _add(arrivals: Sequence[tuple[Lane, int]]) -> list[str]:
    """Jobs of a lane, due at a tick each, in one statement."""
    rows = query(
        "INSERT INTO background_jobs (job_type, priority, scheduled_for)"
        " SELECT * FROM unnest(%s::text[], %s::int[], %s::timestamptz[]) RETURNING id",
        [job_type for (job_type, _), _ in arrivals],
        [priority for (_, priority), _ in arrivals],
        [BEGIN + timedelta(seconds=tick) for _, tick in arrivals],
    )
    return [row[0] for row in rows]


def _waits(job_id: str) -> bool:
    return bool(job(job_id)["status"] == "pending")


def _claim(claims: Claimer) -> Claim:
    claim = claims.claim()
    assert isinstance(claim, Claim), "something is due, and was not claimed"
    return claim


#: Not shrunk when it fails: each try claims from the database, and the numbers are small as they are.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(
    max_examples=40,
    phases=PHASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_arrivals_make_a_job_wait_longer_than_the_bound(data: st.DataObject) -> None:
    query("TRUNCATE background_jobs CASCADE")
    fair_every = data.draw(st.integers(2, 5), "fair_every")
    n = data.draw(st.integers(1, 4), "jobs a claim")
    own = data.draw(lanes, "the lane of the job that waits")
    older_lanes = data.draw(few_lanes, "lanes of older jobs")
    # As old as the job itself counts as older: either may go first.
    older = data.draw(st.lists(st.tuples(st.sampled_from(older_lanes), st.integers(0, 100)), max_size=12), "older")
    # Whoever wants the job to wait adds younger, more urgent ones before each claim, more than it can take.
    hostile_lanes = data.draw(few_lanes, "lanes of what arrives")
    arriving = st.lists(st.tuples(st.sampled_from(hostile_lanes), st.integers(101, 3000)), min_size=n, max_size=n + 2)
    claims = claimer(*TYPES, most=n, fair_every=fair_every)
    # Where the claimer stands in its round when the job comes is not the job's to choose.
    _add([(own, 0)] * n * (fair_every - 1))
    for _ in range(data.draw(st.integers(0, fair_every - 1), "claims before")):
        _claim(claims)
    query("TRUNCATE background_jobs CASCADE")

    _add(older)
    (waiting,) = _add([(own, 100)])
    bound = fair_every * (len(older) / n + len({own, *(lane for lane, _ in older)}))
    made = 0
    while _waits(waiting):
        assert made < bound, f"passed over {made} times, the bound is {bound}"
        _add(data.draw(arriving, f"arrivals before claim {made + 1}"))
        _claim(claims)
        made += 1


def test_the_least_urgent_jobs_are_all_claimed_while_urgent_ones_arrive_faster_than_they_are_claimed() -> None:
    n, fair_every, jobs = 5, 10, 20
    low = set(_add([(("note", 1), tick) for tick in range(jobs)]))
    claims = claimer("note", "mail", most=n, fair_every=fair_every)

    claimed: list[Claim] = []
    tick = jobs
    while low - {taken.id for claim in claimed for taken in claim.jobs}:
        assert len(claimed) < fair_every * (jobs / n + 1)
        _add([(("mail", 10), tick := tick + 1) for _ in range(2 * n)])
        claimed.append(_claim(claims))

    served_low = [number for number, claim in enumerate(claimed, 1) if claim.job_type == "note"]
    assert served_low == [10, 20, 30, 40], "every tenth claim, and only that"
    assert value("SELECT count(*) FROM background_jobs WHERE status = 'pending'") == len(claimed) * n + jobs
    assert all(taken.priority == 10 for claim in claimed if claim.job_type == "mail" for taken in claim.jobs)


def test_the_fair_claim_takes_one_lane_and_not_the_urgent_rest_of_its_type() -> None:
    old = _add([(("note", 2), 0), (("note", 2), 1)])
    _add([(("note", 9), 5)] * 4)
    claims = claimer("note", most=3, fair_every=2)

    assert {taken.priority for taken in _claim(claims).jobs} == {9}
    assert [taken.id for taken in _claim(claims).jobs] == old


def test_lanes_are_served_by_the_age_of_their_heads() -> None:
    order = [("sync", 1), ("mail", 10), ("note", 4), ("mail", 3)]
    for tick, lane in enumerate(order):
        _add([(lane, tick)])
    claims = claimer(*TYPES, most=5, fair_every=1)

    assert [(claim.job_type, claim.jobs[0].priority) for claim in (_claim(claims) for _ in order)] == order


def test_claims_that_found_nothing_do_not_use_up_the_fair_turn() -> None:
    claims = claimer("note", most=1, fair_every=2)
    for _ in range(3):
        assert not isinstance(claims.claim(), Claim)
    (old,) = _add([(("note", 1), 0)])
    _add([(("note", 10), 5)] * 2)

    assert _claim(claims).jobs[0].priority == 10
    assert _claim(claims).jobs[0].id == old
