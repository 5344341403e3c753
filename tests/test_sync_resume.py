"""Job type `sync_customer_data`: what a kill leaves, who may go on, how much memory it takes, and the files' source."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from crm_api import CrmApi, customer, opportunity
from crm_rows import add_promotion, execute, rows
from http_server import Answer, Asked
from running import Process, until
from support import job as job_row

from flows.sync_customers import sync_customers
from flows.testing import run_due_jobs
from models import database as database_module
from models import job_queue
from models.crm_import.run import _IMPORT_LOCK
from models.rescue import rescue_lost_jobs
from models.sync import queue_sync
from models.sync_items import parse_page
from models.sync_pages import SyncMovedOnError, begin_pass, store_page

ROOT = Path(__file__).resolve().parents[1]
MAVEN = ROOT.parent / "shared" / "data" / "crm"
WORK = "from flows.testing import run_due_jobs\nrun_due_jobs('sync_customer_data')\n"
FILES = """
[customers]
file = "customers.csv"
[customers.columns]
id = "id"
name = "name"
[opportunities]
file = "deals.csv"
[opportunities.columns]
id = "id"
title = "title"
customer_id = "customer"
status = "status"
"""


@pytest.fixture
def api(database: str, configure: Any) -> Iterator[CrmApi]:
    api = CrmApi()
    configure(CRM_SYNC_URL=api.server.url, JOB_QUEUE_INTERNAL_HOSTS=api.server.host)
    with api.server:
        yield api


@pytest.fixture
def files(database: str, configure: Any, tmp_path: Path) -> Path:
    """A folder with a mapping and its CSV files, as the source `files`."""
    (tmp_path / "mapping.toml").write_text(FILES, encoding="utf-8")
    (tmp_path / "customers.csv").write_text("id,name\nc1,Acme\nc2,=cmd|' /C calc'!A0\n", encoding="utf-8")
    (tmp_path / "deals.csv").write_text(
        "id,title,customer,status\nd1,Carpets,c1,new\nd2,Sofa,c2,won\nd3,Stairs,c9,new\n", encoding="utf-8"
    )
    configure(CRM_SYNC_MAPPING=tmp_path / "mapping.toml", JOB_QUEUE_DATA_DIR=tmp_path / "data")
    return tmp_path


def sync(source: Any = "api") -> dict[str, Any]:
    (added,) = queue_sync([source])
    run_due_jobs("sync_customer_data")
    return job_row(added.id)


def rescue() -> None:
    """Puts the job of a killed worker back: at once, or when PostgreSQL has noticed the kill and let go of its row."""
    with database_module.connect() as connection:
        assert until(lambda: rescue_lost_jobs(connection, lease=0), what="the rescue") == 1


def test_killed_between_two_pages_it_goes_on_with_the_next_one(api: CrmApi) -> None:
    api.customers = [customer(number) for number in range(1, 6)]
    api.opportunities = [opportunity(number) for number in range(1, 9)]
    (added,) = queue_sync(["api"])
    killed: list[tuple[str, str | None]] = []

    def kill(asked: Asked) -> Answer | None:
        where = asked.path, asked.query.get("cursor")
        if where in (("/customers", "3"), ("/opportunities", "6")) and where not in killed:
            killed.append(where)
            os.kill(worker.pid, signal.SIGKILL)
        return None

    api.before = kill
    for _ in range(2):
        worker = Process(["-c", WORK])
        try:
            assert worker.exit_code() == -signal.SIGKILL, worker.output
        finally:
            worker.end()
        rescue()
    assert rows("SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM opportunities)") == [(5, 6)]
    run_due_jobs("sync_customer_data")

    # Each page that was stored was asked for once, by whichever attempt; no customer again by the last one.
    assert [(resource, cursor) for resource, _, cursor in api.asked] == [
        ("customers", None), ("customers", "3"),
        ("customers", "3"), ("opportunities", None), ("opportunities", "3"), ("opportunities", "6"),
        ("opportunities", "6"),
    ]  # fmt: skip
    done = job_row(added.id)
    assert (done["status"], done["retry_count"], done["lost_count"]) == ("completed", 0, 2)
    assert done["result"]["customers"] == {"read": 5, "inserted": 5, "updated": 0, "unchanged": 0, "rejected": 0}
    assert done["result"]["opportunities"]["inserted"] == 8


def test_killed_while_a_page_is_stored_the_page_and_its_cursor_are_both_not_there(api: CrmApi) -> None:
    api.customers = [customer(number) for number in range(1, 6)]
    (added,) = queue_sync(["api"])
    worker = Process(["-c", WORK])
    try:
        with psycopg.connect(database_module.database_url()) as other:
            # A row of the second page, so that its storing waits.
            other.execute("INSERT INTO customers (id, name) VALUES ('c5', 'somebody else''s')")
            until(
                lambda: rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'INTO customers'")
            )
            worker.kill()
            other.rollback()
    finally:
        worker.end()
    rescue()
    assert rows("SELECT pages, cursor FROM crm_sync_state WHERE resource = 'customers'") == [(1, "3")]
    assert rows("SELECT count(*) FROM customers") == [(3,)]
    run_due_jobs("sync_customer_data")

    assert job_row(added.id)["result"]["customers"]["inserted"] == 5
    assert [cursor for resource, _, cursor in api.asked if resource == "customers"] == [None, "3", "3"]


def test_a_long_sync_is_many_short_runs(api: CrmApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.sync_customer_data.STRETCH_SECONDS", 0.0)
    api.customers = [customer(number) for number in range(1, 9)]
    done = sync()
    assert (done["status"], done["retry_count"]) == ("completed", 0)
    assert done["result"]["customers"]["inserted"] == 8
    assert [cursor for resource, _, cursor in api.asked if resource == "customers"] == [None, "3", "6"]
    assert rows("SELECT sum(snoozed)::int FROM job_metrics") == [(2,)]


def test_twenty_thousand_items_take_the_memory_of_a_page(api: CrmApi) -> None:
    pages, size = 40, 500
    taken: list[int] = []

    def page(asked: Asked) -> Answer | None:
        if asked.path != "/customers":
            return None
        number = int(asked.query.get("cursor", 0))
        taken.append(psutil.Process().memory_info().rss)
        items = [customer(number * size + place, name="A customer " * 20) for place in range(size)]
        following = str(number + 1) if number + 1 < pages else None
        return Answer(body=json.dumps({"items": items, "next": following, "total": pages * size}).encode())

    api.before = page
    assert sync()["result"]["customers"]["inserted"] == pages * size
    # From the fifth page on, when the pools and caches are filled: what a page takes, twice over, and not 40 of them.
    assert max(taken[5:]) - taken[5] < 20_000_000


def test_one_sync_of_a_source_at_a_time(api: CrmApi) -> None:
    api.customers = [customer(number) for number in range(1, 6)]
    first, second = (job_queue.add_job(type="sync_customer_data", payload={"source": "api"}) for _ in range(2))
    busy = "SELECT FROM background_jobs WHERE starts_with(progress_note, 'another sync is running')"

    def wait(asked: Asked) -> Answer | None:
        until(lambda: rows(busy), what="the other one's giving way")
        return None

    api.before = wait
    run_due_jobs("sync_customer_data")
    states = sorted((job_row(job)["status"], job_row(job)["retry_count"]) for job in (first, second))
    assert states == [("completed", 0), ("pending", 0)]
    assert len(api.asked) == 3


def test_a_page_that_another_worker_has_stored_is_not_stored_again(database: str) -> None:
    """A worker that lost its lock and does not know."""
    body = json.dumps({"items": [customer(1)], "next": "1"}).encode()
    page = parse_page("customers", body, latest=datetime.now(UTC))
    stale = begin_pass("api", "customers", "job-1")
    following = store_page(begin_pass("api", "customers", "job-1"), page, None)
    for moved_on in (stale, replace(following, pages=2), replace(following, cursor="0")):
        with pytest.raises(SyncMovedOnError):
            store_page(moved_on, replace(page, next="2"), None)
    assert store_page(following, replace(page, next=None), None).over
    with pytest.raises(SyncMovedOnError):
        store_page(following, replace(page, next=None), None)


def test_rejects_of_a_source_are_bounded(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.sync_pages.MOST_REJECTS", 15)
    pass_ = begin_pass("api", "customers", "job-1")
    for number in range(3):
        items = [{"id": f"{number}-{place}"} for place in range(10)]
        body = json.dumps({"items": items, "next": f"{number}"}).encode()
        pass_ = store_page(pass_, parse_page("customers", body, latest=pass_.began), None)
    assert pass_.counts["rejected"] == 30
    # Full, it takes no new ones; the page that fills it is still whole.
    assert rows("SELECT count(*) FROM crm_sync_rejects") == [(20,)]


# --- The files ---


def test_csv_files_are_synced_and_again_nothing_changes(files: Path) -> None:
    done = sync("files")
    assert done["status"] == "completed", done["error_message"]
    assert done["result"]["customers"] == {"read": 2, "inserted": 2, "updated": 0, "unchanged": 0, "rejected": 0}
    assert done["result"]["opportunities"]["rejected"] == 1
    assert "d3" not in {id_ for (id_,) in rows("SELECT id FROM opportunities")}
    report = Path(done["result"]["report"]).read_text(encoding="utf-8")
    assert "deals.csv,4,customer" in report
    everything = "SELECT c::text, xmin::text FROM customers c UNION ALL SELECT o::text, xmin::text FROM opportunities o"
    before = sorted(rows(everything))

    assert sync("files")["result"]["customers"]["unchanged"] == 2
    assert sorted(rows(everything)) == before


def test_files_do_not_set_back_an_opportunity_that_has_an_offer(files: Path) -> None:
    sync("files")
    add_promotion()
    job_queue.add_job(type="process_opportunity_offer", payload={"opportunity_id": "d1"})
    run_due_jobs("process_opportunity_offer")
    execute("UPDATE opportunities SET status = 'new' WHERE id = 'd2'")
    assert sync("files")["result"]["opportunities"]["updated"] == 1
    assert rows("SELECT id, status FROM opportunities ORDER BY id") == [("d1", "proposal"), ("d2", "won")]

    deals = (files / "deals.csv").read_text(encoding="utf-8").replace("c1,new", "c1,lost")
    (files / "deals.csv").write_text(deals, encoding="utf-8")
    sync("files")
    assert rows("SELECT status FROM opportunities WHERE id = 'd1'") == [("lost",)]


def test_files_that_cannot_be_read_fail_the_job_for_good(files: Path) -> None:
    (files / "customers.csv").write_text("id,nom\nc1,Acme\n", encoding="utf-8")
    failed = sync("files")
    assert (failed["status"], failed["retry_count"]) == ("failed", 0)
    assert "'name'" in failed["error_message"]
    (files / "customers.csv").unlink()
    assert "customers.csv" in sync("files")["error_message"]


def test_a_sync_of_files_waits_for_an_import_that_is_running(files: Path) -> None:
    with psycopg.connect(database_module.database_url()) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [_IMPORT_LOCK])
        put_off = sync("files")
    assert (put_off["status"], put_off["retry_count"]) == ("pending", 0)
    assert "another import" in put_off["progress_note"]


@pytest.mark.skipif(not MAVEN.is_dir(), reason="the public data set is not beside this project")
def test_the_public_data_set_is_synced(database: str, configure: Any, tmp_path: Path) -> None:
    mapping = ROOT / "deployments" / "crm_mappings" / "maven_sales.toml"
    configure(CRM_SYNC_MAPPING=mapping, CRM_SYNC_FOLDER=MAVEN, JOB_QUEUE_DATA_DIR=tmp_path)
    assert sync("files")["result"]["opportunities"]["inserted"] == 8_800
    assert sync("files")["result"]["opportunities"]["unchanged"] == 8_800


# --- The flow ---


def test_the_flow_says_what_it_would_sync(files: Path) -> None:
    assert flow(dry_run=True) == {"success": True, "dry_run": True, "would_sync": ["files"]}
    assert flow(dry_run=True, sources=["api"])["would_sync"] == ["api"]
    assert rows("SELECT count(*) FROM background_jobs") == [(0,)]


def test_the_flow_has_nothing_to_do_without_a_source(database: str) -> None:
    assert flow() == {"success": True, "sources": {}}


def test_a_source_that_waits_or_is_synced_already_is_not_queued_twice(files: Path) -> None:
    first, second = queue_sync(["files"]), queue_sync(["files", "api"])
    assert first[0].added and not second[0].added and second[1].added
    assert second[0].id == first[0].id
    assert queue_sync(["files"], everything=True)[0].added, "it reads more than the one that waits"


def flow(**parameters: Any) -> Any:
    """The flow's function, its log going nowhere."""
    from prefect.logging import disable_run_logger

    with disable_run_logger():
        return sync_customers.fn(**parameters)


@pytest.mark.usefixtures("prefect_api")
def test_the_flow_syncs_and_says_what_came_of_it(api: CrmApi) -> None:
    api.customers, api.opportunities = [customer(1)], [opportunity(1)]
    done = sync_customers(drain_seconds=60)
    assert done["sources"]["api"]["status"] == "completed"
    assert done["sources"]["api"]["result"]["opportunities"]["inserted"] == 1
