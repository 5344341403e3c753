"""The operators' commands: retrying in bulk, undoing, groups of errors, pausing and limiting a type."""

from __future__ import annotations

import pytest
from support import claimer, finish, insert, query, value
from test_cli import Jobs

from models.claims import Claim
from models.outcomes import Ending, Failure

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def jobs(capsys: pytest.CaptureFixture[str]) -> Jobs:
    return Jobs(capsys)


@pytest.fixture
def failed() -> list[str]:
    """Three jobs that failed for want of an answer, one for another reason."""
    ids = [insert() for _ in range(4)]
    for message in ("no answer in 30 s", "no answer in 31 s", "no answer in 32 s", "payload is wrong"):
        claim = claimer(most=1).claim()
        assert isinstance(claim, Claim)
        finish(claim, Ending.FAILED, failure=Failure("RuntimeError", message))
    query("INSERT INTO job_types (job_type) VALUES ('note')")
    return ids


def _waiting() -> int:
    return int(value("SELECT count(*) FROM background_jobs WHERE status = 'pending'"))


def test_groups_are_listed_with_how_many_jobs_each_has(jobs: Jobs, failed: list[str]) -> None:
    assert jobs("groups") == 0
    assert "no answer in 3" in jobs.out
    assert jobs("groups", "--json") == 0
    assert [(row["jobs"], row["fingerprint"]) for row in jobs.json] == [
        (3, "note:RuntimeError:no answer in * s"), (1, "note:RuntimeError:payload is wrong")
    ]  # fmt: skip
    assert jobs("groups", "--type", "other", "--json") == 0
    assert jobs.json == []


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ((), 4),
        (("--type", "note"), 4),
        (("--type", "other"), 0),
        (("--error-text", "ANSWER"), 3),
        (("--fingerprint", "note:RuntimeError:payload is wrong"), 1),
        (("--since", "2020-01-01T00:00+00:00"), 4),
        (("--since", "2190-01-01T00:00+00:00"), 0),
    ],
)
def test_all_that_match_are_retried(jobs: Jobs, failed: list[str], narrowed: tuple[str, ...], expected: int) -> None:
    assert jobs("retry", "--all", *narrowed, "--rate", "100", "--json") == 0
    assert (jobs.json["done"], jobs.json["state"], _waiting()) == (expected, "done", expected)


def test_a_bulk_retry_is_taken_back_by_the_id_it_printed(jobs: Jobs, failed: list[str]) -> None:
    assert jobs("retry", "--all") == 0
    assert "4 retried" in jobs.out
    action_id = jobs.out.split()[-1]
    assert isinstance(claimer(most=1).claim(), Claim)

    assert jobs("undo", action_id) == 0
    assert "3 taken back, 1 has started already" in jobs.out
    assert _waiting() == 0


def test_chosen_jobs_are_retried_and_taken_back(jobs: Jobs, failed: list[str]) -> None:
    assert jobs("retry", failed[0], "no-such-job") == 1
    assert f"{failed[0]}: retried" in jobs.out and "no-such-job: not retried" in jobs.out
    assert jobs("undo", jobs.out.split()[-1], "--json") == 0
    assert jobs.json["done"] == 1


def test_a_retry_that_is_likely_to_fail_again_is_warned_of(jobs: Jobs, failed: list[str]) -> None:
    jobs("retry", "--all", "--error-text", "answer")
    for _ in range(3):
        claim = claimer(most=1).claim()
        assert isinstance(claim, Claim)
        finish(claim, Ending.FAILED, failure=Failure("RuntimeError", "no answer in 1 s"))

    assert jobs("retry", "--all") == 0
    assert "failed again" in jobs.err.replace("\n", " ")


def test_a_type_is_paused_limited_and_resumed(jobs: Jobs, failed: list[str]) -> None:
    assert jobs("pause", "note") == 0
    assert "note paused" in jobs.out
    assert jobs("limit", "note", "--max-running", "3", "--starts-per-second", "0.5", "--json") == 0
    assert query("SELECT paused, max_running, starts_per_second FROM job_types") == [(True, 3, 0.5)]
    assert jobs("limit", "note", "--max-running", "none") == 0
    assert jobs("resume", "note") == 0
    assert query("SELECT paused, max_running, starts_per_second FROM job_types") == [(False, None, 0.5)]
    assert [row[0] for row in query("SELECT action FROM audit_log ORDER BY id")] == [
        "pause", "set_limits", "set_limits", "resume"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("retry", "--type", "note"), "go with --all"),
        (("retry", "some-id", "--all"), "expected job ids or --all"),
        (("retry", "--all", "--rate", "0"), "rate: expected"),
        (("retry", "--all", "--since", "2030-01-01T00:00"), "expected a time with its zone"),
        (("undo", "no-such-action"), "there is none"),
        (("pause", "no-such-type"), "expected a job type that a worker has declared (note)"),
        (("limit", "note"), "got neither"),
        (("limit", "note", "--max-running", "many"), "--max-running: expected a number or none"),
        (("limit", "note", "--max-running", "-1"), "max_running: expected"),
        (("limit", "note", "--starts-per-second", "nan"), "starts_per_second: expected"),
        (("groups", "--limit", "0"), "expected 1 to 1000"),
    ],
)
def test_what_cannot_be_done_is_said(jobs: Jobs, failed: list[str], arguments: tuple[str, ...], said: str) -> None:
    assert jobs(*arguments) == 1
    assert said in " ".join(jobs.err.split())
    assert _waiting() == 0
