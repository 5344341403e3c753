"""What the hot statements cost with 1,200,000 pending rows, whatever the planner believes about them.

They are explained as the code runs them (`along_the_indexes` first) and judged by plan nodes, rows and buffers, never
by time. `-s` prints the milliseconds of a claim. The table is built once, in a database of its own (about 25 s).
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from own_database import own_database
from support import claimer, query, worker_row

from models import database as databases
from models.claims import ALONE_AFTER_LOSSES, Claim
from models.door import PAYLOAD_LIMIT_BYTES
from models.lease import release_jobs
from models.rescue import CHUNK, FAIL_AFTER_LOSSES, LEASE_SECONDS
from models.sql import statement

PENDING, TYPES, PAUSED, LOST = 1_000_000, 50, 200_000, 100
#: Jobs that failed, and as many of those that wait that one bulk action has retried.
FAILED, RETRIED = 20_000, 20_000
TYPE_NAMES = [f"type_{number}" for number in range(TYPES)]
CLAIM = 50

#: A worker writes ids that sort by time, as these do. Of each type 2,000 rows at each priority, due for up to a day.
LOAD = f"""
INSERT INTO background_jobs (id, job_type, priority, scheduled_for)
SELECT lpad(n::text, 36, '0'), 'type_' || n % {TYPES}, 1 + n / {TYPES} % 10, now() - n % 86400 * interval '1 second'
FROM generate_series(1, {PENDING}) AS n;

INSERT INTO background_jobs (id, job_type, priority, scheduled_for)
SELECT lpad(n::text, 36, '0'), 'paused', 10, now() - interval '2 days'
FROM generate_series({PENDING} + 1, {PENDING} + {PAUSED}) AS n;

INSERT INTO background_jobs (id, job_type, status, worker_id, started_at)
SELECT lpad(n::text, 36, '0'), 'type_' || n % {TYPES}, 'processing', (ARRAY['dead', 'live'])[1 + n % 2], now()
FROM generate_series({PENDING} + {PAUSED} + 1, {PENDING} + {PAUSED} + 2 * {LOST}) AS n;

INSERT INTO background_jobs (id, job_type, status, unique_key, completed_at, fingerprint, error_message)
SELECT lpad((2 * {PENDING} + n)::text, 36, '0'), 'type_' || n % {TYPES}, 'failed', 'key ' || n, now(), 'group', 'away'
FROM generate_series(1, {FAILED}) AS n;

INSERT INTO retried_jobs (job_id, fingerprint, retried_at, bulk_action_id, before)
SELECT id, 'group', updated_at, 'bulk',
    jsonb_build_object('status', 'failed', 'retry_count', 3, 'lost_count', 0, 'scheduled_for', scheduled_for)
FROM background_jobs WHERE id BETWEEN lpad('1', 36, '0') AND lpad('{RETRIED}', 36, '0');

INSERT INTO job_types (job_type, paused) SELECT unnest(%s::text[]), false UNION ALL SELECT 'paused', true;
"""
NO_STATISTICS = """
SELECT pg_clear_relation_stats('public', name) FROM unnest(ARRAY['background_jobs', 'idx_jobs_claim']) AS name;
SELECT pg_clear_attribute_stats('public', 'background_jobs', attname::text, false)
FROM pg_attribute WHERE attrelid = 'background_jobs'::regclass AND attnum > 0;
SELECT pg_clear_relation_stats('public', 'retried_jobs');
SELECT pg_clear_attribute_stats('public', 'retried_jobs', attname::text, false)
FROM pg_attribute WHERE attrelid = 'retried_jobs'::regclass AND attnum > 0;
"""
#: As analysed before the load, when the table held a few completed jobs of one type.
YESTERDAYS_STATISTICS = NO_STATISTICS + "".join(
    "SELECT pg_restore_attribute_stats('schemaname', 'public', 'relname', 'background_jobs', 'inherited', false,"
    f" 'attname', '{column}', 'null_frac', 0::real, 'avg_width', 10, 'n_distinct', 1::real,"
    f" 'most_common_vals', '{{{only}}}', 'most_common_freqs', '{{1}}'::real[]);"
    for column, only in {"status": "completed", "job_type": "type_7", "priority": 5}.items()
) + "SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', 'background_jobs', 'relpages', 10,"
YESTERDAYS_STATISTICS += " 'reltuples', 500::real);"
#: ... and each of the retried ones was retried by itself.
YESTERDAYS_STATISTICS += """
SELECT pg_restore_attribute_stats('schemaname', 'public', 'relname', 'retried_jobs', 'inherited', false,
    'attname', 'bulk_action_id', 'null_frac', 0::real, 'avg_width', 10, 'n_distinct', -1::real);
"""
#: As autovacuum leaves them when it comes while the load's transaction is open, or when all rows were deleted: so many
#: pages and not one row. The planner then believes in one row, however many there are by now.
STATISTICS_OF_A_LOAD_UNDER_WAY = NO_STATISTICS + """
SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', relname::text,
    'relpages', (pg_relation_size(oid) / 8192)::int, 'reltuples', 0::real)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
  AND relname ~ '^(background_jobs|idx_jobs|job_failures|ix_job_failures|retried_jobs|ix_retried_jobs)';
"""
STATISTICS = {
    "fresh": "ANALYZE background_jobs; ANALYZE retried_jobs; ANALYZE job_failures",
    "none": NO_STATISTICS,
    "yesterday's": YESTERDAYS_STATISTICS,
    "of a load under way": STATISTICS_OF_A_LOAD_UNDER_WAY,
}


@pytest.fixture(scope="module", autouse=True)
def million(migrated: str) -> Iterator[None]:
    """A database with the rows above as this process's DATABASE_URL; dropped afterwards."""
    with own_database(migrated, "claim_plans") as url:
        _load(url)
        worker_row("dead", job_types=TYPE_NAMES, beat_age=LEASE_SECONDS + 60)
        # Alive for as long as this module takes.
        worker_row("live", job_types=TYPE_NAMES, beat_age=-3600)
        yield


def _load(url: str) -> None:
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename = 'background_jobs' AND indexname <> 'background_jobs_pkey'"
        ).fetchall()
        connection.execute("SET maintenance_work_mem = '256MB'")
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.execute(LOAD.replace(" % ", " %% "), [TYPE_NAMES])
        for _, definition in indexes:
            connection.execute(definition)


@pytest.fixture(scope="module", params=list(STATISTICS), autouse=True)
def known_to_the_planner(request: pytest.FixtureRequest, million: None) -> None:
    query(STATISTICS[request.param])


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def plan_mode(request: pytest.FixtureRequest) -> str:
    """psycopg prepares what it has sent five times; then PostgreSQL may plan without looking at the values."""
    return str(request.param)


@dataclass
class Plan:
    """An executed plan: its nodes, and the buffers that all of it touched."""

    nodes: list[dict[str, Any]]
    buffers: int

    @property
    def most_rows(self) -> int:
        """The most rows that a node gave out or threw away, over all its loops."""
        return max(_rows(node) for node in self.nodes)

    def indexes_of(self, table: str) -> set[str]:
        """The indexes by which it reads the table; the table's name where it reads it otherwise."""
        scans = [node for node in self.nodes if node.get("Relation Name") == table and "Scan" in node["Node Type"]]
        return {node.get("Index Name", table) for node in scans}

    def sorts(self) -> list[str]:
        return [node["Node Type"] for node in self.nodes if "Sort" in node["Node Type"]]


def _rows(node: dict[str, Any]) -> int:
    thrown_away = ("Rows Removed by Filter", "Rows Removed by Join Filter")
    return round(node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(name, 0) for name in thrown_away)))


def explain(name: str, parameters: dict[str, Any], plan_mode: str, *, along_the_indexes: bool = True) -> Plan:
    """Runs a statement as the code does, prepared, in a transaction that is rolled back; returns how it went.

    Of two runs the one that touched less: now and then one splits an index page, or clears it of the row versions that
    the statements before it have left when they were rolled back (80 blocks for a claim of one job). That is not the
    plan's.
    """
    order = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement(name))))
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${order.index(found[1]) + 1}", statement(name)).replace("%%", "%")
    marks = ", ".join(["%s"] * len(order))
    runs = []
    for _ in range(2):
        with psycopg.connect(databases.database_url(), cursor_factory=psycopg.ClientCursor) as connection:
            # A bad plan takes minutes: enough is enough.
            connection.execute(f"SET LOCAL plan_cache_mode = {plan_mode}; SET LOCAL statement_timeout = '30s'")
            if along_the_indexes:
                connection.execute(statement("along_the_indexes"))
            connection.execute(f"PREPARE hot AS {text}")
            row = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE hot ({marks})",
                [parameters[each] for each in order],
            ).fetchone()
            connection.rollback()
        assert row is not None
        top = row[0][0]["Plan"]
        runs.append(Plan(list(_nodes(top)), top["Shared Hit Blocks"] + top["Shared Read Blocks"]))
    return min(runs, key=lambda run: run.buffers)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _claim(plan_mode: str, priorities: Sequence[int], most: int) -> Plan:
    return explain(
        "claim_jobs",
        {
            "job_type": "type_7",
            "priorities": list(priorities),
            "most": most,
            "worker_id": "live",
            "flow_run_id": None,
            "alone_after": ALONE_AFTER_LOSSES,
            "payload_limit": PAYLOAD_LIMIT_BYTES,
        },
        plan_mode,
    )


@pytest.mark.parametrize("only_urgent", [True, False])
def test_the_lanes_are_one_probe_each_and_a_paused_type_costs_nothing(plan_mode: str, only_urgent: bool) -> None:
    plan = explain("lanes", {"job_types": [*TYPE_NAMES, "paused"], "only_urgent": only_urgent}, plan_mode)

    assert plan.indexes_of("background_jobs") == {"idx_jobs_claim"}
    assert not plan.sorts()
    assert plan.most_rows <= 10 * (TYPES + 1)
    # A probe of a lane goes down the index (3 or 4 blocks) and looks at one row.
    probes = TYPES if only_urgent else 10 * TYPES
    assert plan.buffers <= 8 * probes + 50


@pytest.mark.parametrize("priorities", [range(10, 0, -1), [1]], ids=["urgent", "fair"])
@pytest.mark.parametrize("most", [1, CLAIM, 20 * CLAIM])
def test_a_claim_reads_and_locks_only_what_it_takes(plan_mode: str, priorities: Sequence[int], most: int) -> None:
    plan = _claim(plan_mode, priorities, most)

    assert plan.indexes_of("background_jobs") == {"idx_jobs_claim", "background_jobs_pkey"}
    assert not plan.sorts()
    assert plan.most_rows <= most + 1
    # Each row: found, locked, found again by its id, written anew, and put into four indexes.
    assert plan.buffers <= 20 + most * 50


@pytest.mark.parametrize("jobs", [1, LOST])
def test_finishing_finds_each_job_by_its_id(plan_mode: str, jobs: int) -> None:
    held = query("SELECT id, started_at FROM background_jobs WHERE status = 'processing' AND worker_id = 'live'")[:jobs]
    plan = explain(
        "finish_jobs",
        {
            "worker_id": "live",
            "ids": [row[0] for row in held],
            "started_at": [row[1] for row in held],
            "statuses": ["completed"] * jobs,
            "retries": [0] * jobs,
            "delays": [0.0] * jobs,
            "elapsed": [0.1] * jobs,
            "errors": [None] * jobs,
            "fingerprints": [""] * jobs,
            "results": ['{"sent": 1}'] * jobs,
            "notes": [None] * jobs,
            "task_run_ids": [None] * jobs,
        },
        plan_mode,
    )

    assert plan.indexes_of("background_jobs") == {"background_jobs_pkey"}
    assert not plan.sorts()
    assert plan.most_rows == jobs
    assert plan.buffers <= jobs * 50


def _ids(where: str, most: int = CHUNK) -> list[str]:
    return [row[0] for row in query(f"SELECT id FROM background_jobs WHERE {where} ORDER BY id LIMIT {most}")]


@pytest.mark.parametrize(
    ("name", "where"), [("retry_jobs", "status = 'failed'"), ("cancel_jobs", "status = 'pending'")]
)
def test_what_people_do_finds_each_job_by_its_id(plan_mode: str, name: str, where: str) -> None:
    parameters = {"ids": _ids(where), "bulk_action_id": None, "begin": None, "gap": 0.0}
    plan = explain(name, parameters, plan_mode)

    # A retry looks whether a live job has its unique key.
    looked = {"idx_jobs_unique_key"} if name == "retry_jobs" else set()
    assert plan.indexes_of("background_jobs") == {"background_jobs_pkey"} | looked
    assert plan.most_rows <= CHUNK


def test_an_undo_of_many_finds_each_job_by_its_id(plan_mode: str) -> None:
    """Joined the other way round, each chunk of an undo of 100,000 compared all of them with the whole chunk: hours."""
    plan = explain("take_back", {"bulk_action_id": "bulk", "ids": _ids("status = 'pending'")}, plan_mode)

    assert plan.indexes_of("background_jobs") == {"background_jobs_pkey"}
    assert plan.indexes_of("retried_jobs") == {"retried_jobs_pkey"}
    assert plan.most_rows <= CHUNK


def test_a_rescue_reads_what_is_processing_and_nothing_that_waits(plan_mode: str) -> None:
    plan = explain(
        "rescue_jobs", {"lease": LEASE_SECONDS, "fail_after": FAIL_AFTER_LOSSES, "most": CHUNK}, plan_mode
    )

    used = plan.indexes_of("background_jobs")
    assert used - {"background_jobs_pkey"} <= {"idx_jobs_status_scheduled", "idx_jobs_type_status"}, used
    assert "background_jobs_pkey" in used
    assert not plan.sorts()
    assert plan.most_rows <= 2 * LOST
    assert plan.buffers <= 2 * LOST * 60


def test_the_look_for_unknown_types_is_one_probe_a_type(plan_mode: str) -> None:
    plan = explain("pending_types", {"lease": LEASE_SECONDS, "most": CHUNK}, plan_mode)

    assert plan.indexes_of("background_jobs") == {"idx_jobs_claim"}
    assert not plan.sorts()
    assert plan.most_rows <= 2 * (TYPES + 2)
    assert plan.buffers <= (TYPES + 2) * 10


def _held() -> tuple[list[str], list[Any]]:
    rows = query("SELECT id, started_at FROM background_jobs WHERE status = 'processing' AND worker_id = 'live'")
    return [row[0] for row in rows], [row[1] for row in rows]


def test_failures_progress_and_a_look_for_what_was_lost_find_each_job_by_its_id(plan_mode: str) -> None:
    ids, started_at = _held()
    jobs = len(ids)
    texts = dict.fromkeys(("error_classes", "messages", "tracebacks", "fingerprints", "task_run_ids"), ["?"] * jobs)
    held = {"ids": ids, "started_at": started_at, "worker_id": "live"}
    plans = [
        explain("insert_failures", {**held, **texts, "attempts": [1] * jobs}, plan_mode),
        explain("record_progress", {**held, "shares": [0.5] * jobs, "notes": ["half"] * jobs}, plan_mode),
        explain("lost_jobs", held, plan_mode, along_the_indexes=False),
    ]

    for plan in plans:
        assert plan.indexes_of("background_jobs") == {"background_jobs_pkey"}
        assert plan.most_rows == jobs


@pytest.mark.parametrize("some", [True, False], ids=["some", "all"])
def test_giving_back_reads_what_is_processing_and_nothing_that_waits(plan_mode: str, some: bool) -> None:
    asked = {"worker_id": "live", "ids": _held()[0][:10] if some else None}
    plan = explain("release_jobs", asked, plan_mode, along_the_indexes=False)

    assert plan.most_rows <= 4 * LOST, "what is processing, and what was a moment ago"
    assert plan.buffers <= 2 * LOST * 60


def test_a_unique_key_that_is_taken_is_found_by_its_index(plan_mode: str) -> None:
    jobs = 100
    live = _ids("status = 'pending'", 10 * jobs)
    query("UPDATE background_jobs SET unique_key = 'live ' || id WHERE id = ANY (%s)", live)
    wanted = {
        "ids": [f"new {number}" for number in range(jobs)],
        "job_types": ["type_7"] * jobs,
        "payloads": ["{}"] * jobs,
        "priorities": [5] * jobs,
        "max_retries": [3] * jobs,
        "scheduled_for": [None] * jobs,
        "unique_keys": [f"live {each}" for each in live[:jobs]],
    }
    plan = explain("insert_jobs", wanted, plan_mode, along_the_indexes=False)

    assert plan.indexes_of("background_jobs") == {"idx_jobs_unique_key"}
    assert plan.most_rows <= jobs


def test_what_is_old_is_deleted_with_its_history_and_nothing_else_is_read(plan_mode: str) -> None:
    query("UPDATE background_jobs SET created_at = '2026-01-01', completed_at = '2026-01-02' WHERE status = 'failed'")
    query(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint)"
        " SELECT id, job_type, 1, '', '', '' FROM background_jobs WHERE status = 'failed'"
        " AND NOT EXISTS (SELECT FROM job_failures)"
    )
    days = {"completed": 1, "failed": 1, "cancelled": 1}
    asked = {**days, "after": "-infinity", "now": "2026-03-01", "most": CHUNK}
    plan = explain("delete_old_jobs", asked, plan_mode)

    assert plan.most_rows <= CHUNK


def test_jobs_of_a_type_that_nobody_knows_fail_each_by_its_id(plan_mode: str) -> None:
    asked = {"job_types": ["paused"], "patience": -60.0, "most": CHUNK, "known": "none"}
    plan = explain("fail_unknown_types", asked, plan_mode)

    assert plan.indexes_of("background_jobs") == {"idx_jobs_claim", "background_jobs_pkey"}
    assert plan.most_rows <= CHUNK


@pytest.mark.parametrize("fair_every", [1000, 1], ids=["urgent", "fair"])
@pytest.mark.parametrize("types", [TYPES, 5])
def test_a_claim_of_fifty_is_measured(request: pytest.FixtureRequest, types: int, fair_every: int) -> None:
    claims = claimer(*TYPE_NAMES[:types], "paused", worker="measured", most=CLAIM, fair_every=fair_every)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        claim = claims.claim()
        taken.append((time.perf_counter() - began) * 1000)
        assert isinstance(claim, Claim) and len(claim.jobs) == CLAIM
        assert claim.job_type != "paused"
    print(
        f"\n{request.node.callspec.id}: a claim of {CLAIM} takes {statistics.median(taken):.1f} ms"
        f" (median of 20; {min(taken):.1f} to {max(taken):.1f})"
    )
    assert release_jobs("measured") == 20 * CLAIM
