"""SIGKILL: no job is lost, stuck or finished twice, and what a dead worker held is running again within 35 seconds."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from datetime import datetime
from functools import partial

import psycopg
import pytest

from models import job_queue
from models.claims import ALONE_AFTER_LOSSES
from models.rescue import FAIL_AFTER_LOSSES, rescue_lost_jobs
from tests.running import Process, Rows, ready, until, worker

pytestmark = pytest.mark.usefixtures("prefect_api")

JOBS = 2_000
VICTIMS = 5
#: What is promised: the lease of 30 s, and a look every second.
PICKED_UP_WITHIN = 35.0


def kill(child: Process, rows: Rows) -> datetime:
    """Kills it, and returns when, by the database's clock."""
    child.kill()
    when = rows.one("SELECT clock_timestamp()")
    assert isinstance(when, datetime)
    return when


def test_workers_are_killed_until_all_jobs_are_through(samples: Rows) -> None:
    """A survivor, and victims killed in mid-batch one after the other, while the jobs of those before still wait."""
    dice = random.Random(7)
    killed: dict[str, datetime] = {}
    with ExitStack() as children:
        # One slot, so that it does not do all the work meanwhile.
        survivor = children.enter_context(worker("long_effect", JOB_QUEUE_CONCURRENCY="1", JOB_QUEUE_BATCH_SIZE="20"))
        # All run before there is work: however long a start takes, they are killed within seconds of each other, before
        # the first jobs come back. A job that was lost twice runs alone.
        victims = [children.enter_context(worker("long_effect")) for _ in range(VICTIMS)]
        ready(survivor, samples)
        running = [(ready(victim, samples), victim) for victim in victims]
        job_queue.add_batch(
            [{"type": "long_effect", "payload": {"seconds": 3 + 2 * dice.random()}} for _ in range(JOBS)]
        )
        for worker_id, victim in running:
            until(partial(_mid_batch, samples, worker_id), what="the next batch of the victim")
            time.sleep(dice.random())
            killed[worker_id] = kill(victim, samples)
        for _ in range(2):
            children.enter_context(worker("long_effect"))
        until(lambda: samples.count("completed") == JOBS, seconds=240, what="the end of all jobs", every=0.25)

    lost = samples.all("SELECT job_id, worker_id, failed_at, error_class FROM job_failures")
    assert {row["error_class"] for row in lost} == {"WorkerLost"}
    assert {row["worker_id"] for row in lost} <= set(killed)
    assert len({row["worker_id"] for row in lost}) >= 3, "too few kills in mid-batch to mean anything"
    picked_up = {
        name: max((row["failed_at"] - when).total_seconds() for row in lost if row["worker_id"] == name)
        for name, when in killed.items()
        if any(row["worker_id"] == name for row in lost)
    }
    print(f"{len(killed)} killed, {len(lost)} jobs lost with them; picked up after {picked_up}")
    assert max(picked_up.values()) < PICKED_UP_WITHIN

    # Nothing is lost, and nothing is finished twice: what ran to its end more often than once lost its worker.
    assert samples.one("SELECT sum(completed) FROM job_metrics") == JOBS
    assert samples.one("SELECT sum(failed + retried) FROM job_metrics") == 0
    assert samples.one("SELECT sum(lost) FROM job_metrics") == len(lost)
    assert samples.one("SELECT count(DISTINCT job_id) FROM scratch.effects WHERE note = 'done'") == JOBS
    assert samples.one("SELECT count(*) FROM background_jobs WHERE retry_count > 0") == 0
    unexplained = samples.one(
        "SELECT count(*) FROM background_jobs AS job, LATERAL ("
        "  SELECT count(*) AS runs FROM scratch.effects WHERE job_id = job.id AND note = 'done') AS effect"
        " WHERE effect.runs > 1 + job.lost_count"
    )
    assert unexplained == 0


def _mid_batch(rows: Rows, worker_id: str) -> bool:
    """Whether the worker holds jobs, or there is nothing left to hold."""
    held = rows.one(
        "SELECT count(*) FROM background_jobs WHERE status = 'processing' AND worker_id = %s", worker_id
    )
    return bool(held >= 20 or not rows.count("pending"))


def _dead(workers: list[Process]) -> list[Process]:
    return [child for child in workers if not child.running]


def test_a_job_that_kills_its_worker_fails_after_five_losses_and_harms_nobody_for_good(
    samples: Rows, database: str
) -> None:
    """The lease of each dead worker is ended by hand, as the rule is about losses and not about the 30 s."""
    killer, *neighbours = job_queue.add_batch(
        [{"type": "maybe_kills", "payload": {"kills": True}}, *[{"type": "maybe_kills", "payload": {"seconds": 1}}] * 5]
    )
    with ExitStack() as children, psycopg.connect(database, autocommit=True) as connection:
        workers = [children.enter_context(worker("maybe_kills")) for _ in range(2)]
        losses = 0
        while samples.job(killer)["status"] != "failed":
            dead = until(partial(_dead, workers), what="a worker's death")
            workers = [child for child in workers if child.running]
            workers += [children.enter_context(worker("maybe_kills")) for _ in dead]
            samples.all(
                "UPDATE workers SET beat_at = now() - interval '31 seconds' WHERE pid = ANY (%s)",
                [child.pid for child in dead],
            )
            rescue_lost_jobs(connection)
            losses += len(dead)
            assert losses <= FAIL_AFTER_LOSSES
        until(lambda: samples.count("completed") == len(neighbours), what="the end of the neighbours")
    assert losses == FAIL_AFTER_LOSSES
    job = samples.job(killer)
    assert (job["lost_count"], job["retry_count"]) == (FAIL_AFTER_LOSSES, 0)
    assert "the worker that ran this job died" in job["error_message"]
    assert samples.effects(killer) == FAIL_AFTER_LOSSES
    # After its second loss it ran alone.
    assert max(samples.job(job_id)["lost_count"] for job_id in neighbours) <= ALONE_AFTER_LOSSES
    assert {failure["error_class"] for failure in samples.failures(killer)} == {"WorkerLost"}
