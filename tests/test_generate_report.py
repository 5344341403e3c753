"""Job type `generate_report`: its files are opened again, and say what the database does, and nothing in them runs."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from crm_rows import rows
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from report_rows import FORMULA, LINK, SCRIPT, a_hostile_crm, a_hostile_job_history

from models import metrics, registry
from models.analytics import update_analytics
from models.report_period import ReportPeriod
from tasks.context import CurrentJob, running_job
from tasks.services.report_workbook import sheet_name

WEEK = {"first": "2026-03-02", "last": "2026-03-08", "name": "week"}
CSV_FILES = {
    "revenue", "revenue_by_tier", "deals", "pipeline_by_stage", "pipeline_by_tier", "pipeline_by_age", "jobs",
    "failures",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(database: str, configure: Any, tmp_path: Path) -> Path:
    configure(REPORT_DIR=tmp_path / "reports")
    return tmp_path / "reports"


def report(**payload: Any) -> dict[str, Any]:
    job_type = registry.load()["generate_report"]
    result = job_type.run(job_type.payload.model_validate(payload))
    assert isinstance(result, dict)
    return result


@pytest.fixture
def week(folder: Path) -> Path:
    """The report of a week, of a CRM with hostile text."""
    a_hostile_crm()
    a_hostile_job_history()
    report(**WEEK)
    return folder / "week"


def read(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


class Page(HTMLParser):
    """The page as a browser sees it: elements, the text of each, and what it would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.texts: list[str] = []
        self._raw = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._raw = tag in ("script", "style")
        self.loads += [value or "" for name, value in attributes if name in ("src", "srcset", "action", "background")]
        if tag == "link":
            self.loads += [value or "" for name, value in attributes if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, text: str) -> None:
        if not self._raw and text.strip():
            self.texts.append(" ".join(text.split()))


def test_a_report_is_a_page_a_workbook_and_a_csv_file_for_each_table(week: Path) -> None:
    names = {path.name for path in week.iterdir()}
    assert names == {"report.html", "report.xlsx", "report.json", *(f"{name}.csv" for name in CSV_FILES)}
    manifest = json.loads((week / "report.json").read_text())
    assert manifest["files"] == {name: (week / name).stat().st_size for name in names - {"report.json"}}


def test_revenue_is_what_was_won_by_the_day_it_closed_quoted_prices_first(week: Path) -> None:
    assert read(week / "revenue.csv") == [
        ["From", "Deals won", "Deals lost", "Revenue"],
        ["2026-03-02", "1", "0", "900.0"], ["2026-03-03", "0", "0", "0.0"], ["2026-03-04", "1", "0", "500.0"],
        ["2026-03-05", "0", "1", "0.0"], ["2026-03-06", "0", "0", "0.0"], ["2026-03-07", "0", "0", "0.0"],
        ["2026-03-08", "1", "0", "40.0"], ["Total", "3", "1", "1440.0"],
    ]  # fmt: skip
    assert read(week / "revenue_by_tier.csv")[1] == ["vip", "3", "1", "1440.0", "300.0"]
    assert [row[2] for row in read(week / "deals.csv")] == ["Revenue", "900.0", "500.0", "40.0", "1440.0"]


def test_the_report_and_the_daily_figures_agree(week: Path) -> None:
    list(update_analytics(365))
    daily = rows(
        "SELECT sum(value)::float8 FROM analytics_daily WHERE measure = 'won_value' AND day BETWEEN %s AND %s",
        date(2026, 3, 2), date(2026, 3, 8),
    )  # fmt: skip
    assert daily == [(1440.0,)]


def test_pipeline_and_jobs_are_what_the_database_says(week: Path) -> None:
    assert read(week / "pipeline_by_stage.csv")[1:] == [
        ["new", "0", "0", "0.0"], ["qualified", "1", "0", "70.0"], ["proposal", "0", "0", "0.0"],
        ["Total", "1", "0", "70.0"],
    ]  # fmt: skip
    assert read(week / "pipeline_by_tier.csv")[4] == ["none", "1", "0", "70.0"]
    assert read(week / "pipeline_by_age.csv")[1] == ["0 to 7 days", "1", "0", "70.0"]
    row = read(week / "jobs.csv")[1]
    assert row[:4] == [LINK, "10", "1", "2"] and float(row[4]) == pytest.approx(10 / 11)
    assert all(0 < float(seconds) < 2 for seconds in row[5:])


def test_weeks_and_months_add_up_to_the_same(week: Path, folder: Path) -> None:
    for step, first in (("week", "2026-03-02"), ("month", "2026-03-01")):
        report(**{**WEEK, "name": step, "group_by": step})
        assert read(folder / step / "revenue.csv")[1:] == [[first, "3", "1", "1440.0"], ["Total", "3", "1", "1440.0"]]


def test_no_cell_of_a_csv_file_is_a_formula(week: Path) -> None:
    for name in CSV_FILES:
        for cell in (cell for row in read(week / f"{name}.csv") for cell in row):
            assert not re.match(r"[=+@\t\r]|-(?![\d.]+$)", cell), (name, cell)
    assert read(week / "deals.csv")[1][1] == f"'{FORMULA}{SCRIPT}"
    assert read(week / "failures.csv")[1][2].startswith("'+1 </script>")


def test_the_workbook_has_text_numbers_and_dates_and_no_formula_or_link(week: Path) -> None:
    book = openpyxl.load_workbook(week / "report.xlsx")
    assert len(book.sheetnames) == 1 + len(CSV_FILES)
    for sheet in book:
        assert not sheet._hyperlinks
        for cell in (cell for row in sheet.iter_rows() for cell in row):
            assert cell.data_type != "f"
            assert not (isinstance(cell.value, str) and cell.value.startswith(("=", "+", "@", "-")))
    revenue = book["Revenue over time"]
    assert revenue.freeze_panes == "A2" and revenue.auto_filter.ref == "A1:D8"
    assert [cell.value for cell in revenue[2]] == [datetime(2026, 3, 2), 1, 0, 900]
    assert [cell.value for cell in revenue[9]] == ["Total", 3, 1, 1440]
    assert (revenue["A2"].number_format, revenue["D2"].number_format) == ("yyyy-mm-dd", '"$"#,##0.00')
    assert revenue.column_dimensions["D"].width > 15
    summary = {row[0].value: (row[1].value, row[2].value) for row in book["Summary"].iter_rows(min_row=5)}
    assert summary["Revenue"] == (1440, 300) and summary["Win rate"] == (0.75, 1)
    assert summary["Offers made"] == (0, 1)


def test_the_page_loads_nothing_and_shows_what_strangers_typed_as_text(week: Path) -> None:
    page = Page(week / "report.html")

    assert page.tags.count("script") == 3 and "img" not in page.tags and "iframe" not in page.tags
    assert page.loads == ["data:,"]
    assert f"{FORMULA}{SCRIPT}" in page.texts and LINK in page.texts
    content = (week / "report.html").read_text(encoding="utf-8")
    specs = re.search(r'id="figures">(.*?)</script>', content, re.DOTALL)
    assert specs is not None and not re.search(r"[<>&]", specs[1])
    # Plotly reads labels as HTML.
    assert LINK not in str(json.loads(specs[1]))
    assert "showSendToCloud: false" in content


def test_the_headline_figures_come_first_and_are_compared_with_the_period_before(week: Path) -> None:
    texts = Page(week / "report.html").texts
    assert texts.index("Revenue") < texts.index("Revenue by customer tier")
    place = texts.index("Revenue")
    assert texts[place : place + 4] == ["Revenue", "$1,440", "▲ up 380%", ", before $300.00"]
    assert "Revenue is what opportunities that were won are worth" in " ".join(texts)


def test_a_period_without_anything_is_a_report_too(folder: Path) -> None:
    result = report(first="2020-01-01", last="2020-01-31")

    assert result["report"] == "report-2020-01-01-2020-01-31-day"
    assert Page(folder / result["report"] / "report.html").texts.count("Nothing in this period.") == 6


def test_without_days_it_is_the_last_whole_week(folder: Path) -> None:
    before = metrics.database_now().date()
    period = report()["period"]

    first, last = (date.fromisoformat(day) for day in period.split(" to "))
    assert (first.isoweekday(), last.isoweekday(), (last - first).days) == (1, 7, 6)
    # A week may have ended meanwhile.
    assert 0 < (before - last).days <= 7 or 0 < (metrics.database_now().date() - last).days <= 7


def test_progress_names_the_part_that_is_written(folder: Path) -> None:
    reports: list[tuple[float, str | None]] = []
    token = running_job.set(CurrentJob("j", "generate_report", 1, 2, lambda *report: reports.append(report)))
    report(**WEEK)
    running_job.reset(token)

    shares = [share for share, _ in reports]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] < 1
    assert {note for _, note in reports} >= {"writing report.html", "writing report.xlsx", "writing jobs.csv"}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"first": "2026-01-01"}, "both first and last"),
        ({"first": "2026-01-02", "last": "2026-01-01"}, "last day from 2026-01-02 on"),
        ({"first": "2010-01-01", "last": "2026-01-01"}, "3,660 days at most"),
        ({"first": "2024-01-01", "last": "2026-01-01"}, "group by week or month"),
        ({"groupBy": "hour"}, "group"),
        ({"keep": 0}, "keep"),
    ],
)
def test_a_period_that_makes_no_report_is_refused_at_the_door(payload: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        registry.load()["generate_report"].payload.model_validate(payload)


@given(st.lists(st.text(max_size=60), max_size=12))
def test_sheet_names_are_legal_and_no_two_alike(titles: list[str]) -> None:
    taken: set[str] = set()
    names = [sheet_name(title, taken) for title in titles]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert 1 <= len(name) <= 31 and not re.search(r"[\[\]:*?/\\]", name)
        assert name.lower() != "history" and not name.startswith("'") and not name.endswith("'")


def test_the_period_before_has_as_many_days_and_ends_where_it_begins() -> None:
    period = ReportPeriod(date(2026, 3, 2), date(2026, 3, 8))
    assert str(period.before()) == "2026-02-23 to 2026-03-01"
    assert period.times().before() == period.before().times()
    assert {ReportPeriod.last_week(date(2026, 3, day)) for day in range(9, 16)} == {period}
