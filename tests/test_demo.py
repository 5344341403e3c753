"""`make demo` as a stranger runs it: on a folder of its own, twice, beside a program that holds its port."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from deployments.demo import DEMO_PORT
from tests.running import occupied, process

WITHIN = 170.0
#: Of both runs; pytest's own limit is less than the two of them may take.
pytestmark = pytest.mark.timeout(2 * WITHIN + 60)


def _demo(folder: Path) -> str:
    # What the environment says of databases and mail servers is left alone.
    elsewhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SMTP_URL": "smtp://127.0.0.1:1"}
    elsewhere["REPORT_DIR"] = str(folder.parent / "reports of the company")
    with process("-m", "deployments.cli", "demo", JOB_QUEUE_DATA_DIR=str(folder), **elsewhere) as child:
        assert child.exit_code(within=WITHIN) == 0, child.output[-3000:]
        return child.output


def test_the_demo_runs_to_the_last_mail_and_a_second_time_sends_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "data folder"
    with occupied(DEMO_PORT):
        first = _demo(folder)
    assert "DATABASE_URL is set and left alone" in first
    assert not (tmp_path / "reports of the company").exists()
    assert "Traceback" not in first
    assert re.search(r"queued 500 opportunities", first)
    offers = re.search(r"process_opportunity_offer\D+(\d+)\D+(\d+)\D+(\d+)", first)
    mails = re.search(r"send_promotion\D+(\d+)\D+(\d+)\D+(\d+)", first)
    assert offers is not None and offers.groups() == ("500", "0", "0")
    assert mails is not None and int(mails[1]) > 0 and int(mails[2]) > 0 and int(mails[3]) == 0
    # By whatever clock: most appointments are where it is day, and four where it is night.
    assert re.search(r"send_reminder\D+20\D+0\D+0\D+4\D", first)
    assert re.search(r"send_review_request\D+24\D+0\D+0\D+0\D", first)
    assert re.search(r"of these 20 reminders, 24 requests for a review; 4 more wait for 08:00 in \w+/\w+", first)
    assert re.search(r"update_analytics\D+1\D+0\D+0\D", first)
    report = re.search(r"report: (.+/report\.html)", first)
    assert report is not None and Path(report[1]).is_relative_to(folder)
    assert "send_promotion" in Path(report[1]).read_text()
    written = sorted(path.name for path in (folder / "outbox").glob("*.eml"))
    assert f"e-mails written: {len(written)}" in first

    second = _demo(folder)
    assert "there already" in second
    # The rest of the sample is worked on; what was sent stays as it was.
    again = sorted(path.name for path in (folder / "outbox").glob("*.eml"))
    assert set(written) <= set(again)
    assert f"e-mails written: {len(again) - len(written)}" in second
    assert "of these 0 reminders, 0 requests for a review; 4 more wait for 08:00" in second

    left = [child for child in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(child.info["cmdline"] or ())]
    assert left == []
