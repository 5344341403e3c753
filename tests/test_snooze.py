"""What a processor puts off, what takes a whole batch, what stages took: as a worker runs them."""

from __future__ import annotations

import pytest
from running import Rows, until, worker
from support import job as row_of

from flows.testing import run_due_jobs
from models import job_queue
from tasks import Payload, Snooze, processor

pytestmark = pytest.mark.usefixtures("database")


def test_a_snooze_needs_a_time() -> None:
    with pytest.raises(ValueError, match="seconds: expected 0 or more, got -1"):
        Snooze("later", seconds=-1)
    with pytest.raises(ValueError, match="got nan"):
        Snooze("later", seconds=float("nan"))


@pytest.mark.usefixtures("prefect_api")
def test_batches_and_snoozes_through_a_worker(samples: Rows) -> None:
    job_queue.add_batch([{"type": "together", "payload": {"name": name}} for name in "aabbcc"])
    wrong = job_queue.add_job(type="together", payload={"name": "wrong"})
    later = job_queue.add_job(type="together", payload={"name": "later"})
    samples.all("INSERT INTO background_jobs (job_type, payload) VALUES ('together', '{\"nme\": 1}')")
    breaking = job_queue.add_job(type="together_or_not", payload={"name": "breaks"}, max_retries=0)
    fine = job_queue.add_batch([{"type": "together_or_not", "payload": {"name": "fine"}}] * 3)
    with worker():
        # The snoozed one too: a claim may take it apart from the others, and its outcome is then written after theirs.
        until(
            lambda: (
                (samples.count("completed"), samples.count("failed"), row_of(later)["progress_note"])
                == (9, 3, "not before noon")
            ),
            what="the batches",
        )

    # One call for all of them, and each with what came of it.
    results = samples.all("SELECT result FROM background_jobs WHERE job_type = 'together' AND status = 'completed'")
    assert {row["result"]["of"] for row in results} == {8}
    assert row_of(wrong)["error_message"] == "wrong, as asked"
    put_off = row_of(later)
    assert (put_off["status"], put_off["retry_count"], put_off["progress_note"]) == ("pending", 0, "not before noon")
    assert put_off["scheduled_for"] > put_off["updated_at"]
    assert samples.failures(later) == []
    # A batch that breaks is tried in parts: only the job that breaks it fails.
    assert row_of(breaking)["error_message"] == "all or nothing"
    assert {row_of(job_id)["result"]["of"] for job_id in fine} == {1}
    (totals,) = samples.all(
        "SELECT sum(snoozed) AS snoozed, sum(completed) AS completed, histogram_sum(stage_micros) AS stages"
        " FROM job_metrics WHERE job_type = 'together'"
    )
    assert (totals["snoozed"], totals["completed"]) == (1, 6)
    assert set(totals["stages"]) == {"fetch", "work"}
    # Seven attempts (six completed, one failed) of eight jobs that took 40 ms together.
    assert totals["stages"]["work"] >= 35_000


def test_results_that_are_no_list_are_no_results(samples: Rows) -> None:
    from tests.sample_processors import together_by_name

    jobs = [job_queue.add_job(type=together_by_name.name, payload={"name": name}) for name in "ab"]
    run_due_jobs(together_by_name.name)

    assert {row_of(job_id)["error_message"] for job_id in jobs} == {
        "together_by_name: expected a list of 1 results, got dict"
    }


def test_a_processor_over_many_is_a_task_over_one() -> None:
    from tests.sample_processors import Named, together

    assert together.fn({"name": "a"}) == {"of": 1}
    assert together.fn(Named(name="b")) == {"of": 1}
    with pytest.raises(Snooze):
        together.fn({"name": "later"})


def test_what_a_processor_may_not_declare_is_refused_at_its_decoration() -> None:
    with pytest.raises(TypeError, match="or a list of them"):

        @processor
        def of_numbers(payloads: list[int]) -> list[int]:
            return payloads

    with pytest.raises(ValueError, match="services: expected names such as 'smtp', got 'a,b'"):

        @processor(services=("a,b",))
        def careless(payload: Payload) -> None: ...
