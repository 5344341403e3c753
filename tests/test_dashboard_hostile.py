"""Text that somebody typed to do harm: on every page it is text, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from rich.markdown import Markdown
from streamlit.testing.v1 import AppTest

from dashboard import answers
from models import database as db
from models.rollup import RollUp
from tests import support
from tests.pages import PAGES, choose, open_page, texts

EVIL = (
    "![pixel](https://evil.example/p.png) [click](javascript:alert(1)) <img src=x onerror=alert(1)> :red[urgent]"
    " :material/warning: `tick` =1+1 \u202egnp.exe\n# heading\n"
)
LONG = EVIL + "x" * 100_000
SHORT = "<b>:red[urgent]</b>![p](https://evil.example/p)"


@pytest.fixture(autouse=True)
def failed_job(database: str) -> str:
    """A queue in which everything that can be typed was typed by somebody hostile: the id of a failed job."""
    answers.forget()
    support.worker_row(SHORT, host=SHORT, job_types=[SHORT])
    support.held_by(SHORT, job_type=SHORT, progress=0.5, progress_note=EVIL)
    support.insert(job_type=SHORT, error_message=LONG, retry_count=1)
    support.insert(job_type=SHORT)
    support.query("UPDATE background_jobs SET scheduled_for = now() - interval '5 min' WHERE status = 'pending'")
    support.query(
        "INSERT INTO job_types (job_type, description, held_until, held_reason, payload_schema)"
        " VALUES (%s, %s, now() + interval '1 h', %s, %s)",
        SHORT, EVIL, LONG, json.dumps({"properties": {SHORT: {"type": "string", "description": EVIL}}}),
    )  # fmt: skip
    support.query("INSERT INTO services (service, breaker, reason) VALUES (%s, 'open', %s)", SHORT, LONG)
    roll_up = RollUp(SHORT)
    for event in ("completed", "failed") * 6:
        roll_up.attempt(SHORT, 5, event, waited=1.0, ran=0.2)
    with db.transaction() as connection:
        roll_up.write(connection)
    payload = json.dumps({EVIL[:50]: LONG[:2000]})
    job_id = support.insert(
        job_type=SHORT, status="failed", completed_at="now", error_message=LONG, payload=payload, worker_id=SHORT,
        fingerprint=SHORT, unique_key=SHORT, result=payload,
    )  # fmt: skip
    support.query(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, traceback, fingerprint, worker_id,"
        " flow_run_id, task_run_id) VALUES (%s, %s, 1, %s, %s, %s, %s, %s, %s, %s)",
        job_id, SHORT, SHORT, LONG, LONG, SHORT, SHORT, ")" + SHORT, SHORT,
    )  # fmt: skip
    support.query("INSERT INTO audit_log (who, action, target) VALUES (%s, %s, %s)", SHORT, SHORT, job_id)
    limits = json.dumps({"was": {"max_running": EVIL}, "max_running": LONG, "starts_per_second": [SHORT]})
    for action in (SHORT, "set_limits"):
        support.query(
            "INSERT INTO audit_log (who, action, target, detail) VALUES (%s, %s, %s, %s)", SHORT, action, SHORT, limits
        )
    return job_id


@pytest.mark.parametrize("name", PAGES)
def test_hostile_text_is_text_on_every_page(name: str, failed_job: str) -> None:
    page = open_page(name, id=failed_job) if name == "job" else open_page(name)
    _harmless(page)


def test_hostile_text_is_text_in_an_open_group(failed_job: str) -> None:
    page = open_page("failed", group=SHORT)
    _harmless(page)
    choose(page, "failed_jobs", [0])
    _harmless(page)
    assert any("![pixel](https://evil.example/p.png)" in each.value for each in page.code), texts(page)


def _harmless(page: AppTest) -> None:
    for kind, words in _markdown(page):
        if kind == "code":
            continue
        # Streamlit's own directives, which no Markdown parser knows.
        assert not re.search(r"(?<!\\):red\[urgent", re.sub(r"(`+).*?\1", "", words)), words
        for token in Markdown(words).parsed:
            for part in token.children or [token]:
                assert part.type not in ("image", "html_inline", "html_block"), words
                if part.type == "link_open":
                    assert str(part.attrs["href"]).startswith("http://127.0.0.1:"), words
    for table in page.dataframe:
        for column in table.value.select_dtypes(["object", "str"]):
            for cell in table.value[column]:
                assert len(str(cell)) <= 300 and "\u202e" not in str(cell)
    for block in page.code:
        assert len(block.value) <= 20_000 and "\u202e" not in block.value


def _markdown(page: AppTest) -> Iterator[tuple[str, str]]:
    """All that Streamlit reads as Markdown: words, alerts, and the labels and help of widgets."""
    for kind in ("title", "subheader", "markdown", "caption", "info", "success", "warning", "error"):
        for element in page.get(kind):
            yield kind, str(element.value)
    for kind in ("metric", "button", "text_input", "number_input", "text_area", "checkbox", "expander", "page_link"):
        for element in page.get(kind):
            yield kind, str(getattr(element, "label", ""))
            yield kind, str(getattr(element, "help", "") or "")
