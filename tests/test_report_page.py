"""The page of a report in a real browser: it draws everything, asks nobody for anything, fits a phone, goes dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request
from report_rows import a_hostile_crm, a_hostile_job_history

from models import registry
from tests.browser import NARROW, PATIENCE_MS, WIDE

FIGURES = ["jobs", "pipeline_by_age", "pipeline_by_stage", "revenue", "revenue_by_tier", "run_time"]


@pytest.fixture
def page_file(database: str, configure: Any, tmp_path: Path) -> Path:
    configure(REPORT_DIR=tmp_path / "reports")
    a_hostile_crm()
    a_hostile_job_history()
    generate = registry.load()["generate_report"]
    generate.run(generate.payload(first="2026-03-02", last="2026-03-08", name="week"))
    return tmp_path / "reports" / "week" / "report.html"


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide and light", "narrow and dark"])
def test_the_page_draws_every_figure_and_asks_nobody_for_anything(
    size: Any, dark: bool, page_file: Path, browser: Browser
) -> None:
    asked: list[str] = []
    complaints: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            asked.append(request.url)

    def hear(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light")
    context.set_default_timeout(PATIENCE_MS)
    context.on("request", note)
    page = context.new_page()
    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(page_file.as_uri())
        page.wait_for_function("n => document.querySelectorAll('.plot .main-svg .bars').length >= n", arg=len(FIGURES))

        assert asked == [page_file.as_uri()] and complaints == []
        assert sorted(page.eval_on_selector_all(".plot", "plots => plots.map(plot => plot.id)")) == FIGURES
        # Nothing that strangers typed was run, in the page or in Plotly's labels.
        assert page.title() == "Dirt Free: report 2026-03-02 to 2026-03-08"
        assert page.locator("img, iframe, .plot a").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        back, text = (
            page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
        )
        assert (back == "rgb(13, 17, 23)") == dark and text != back
        # The figures follow the page, also to the printer.
        tick = "getComputedStyle(document.querySelector('#revenue .ytick text')).fill"
        on_screen = page.evaluate(tick)
        assert on_screen == ("rgb(145, 152, 161)" if dark else "rgb(89, 99, 110)")
        page.emulate_media(media="print")
        page.wait_for_function(f"() => {tick} === 'rgb(68, 68, 68)'")
    finally:
        context.close()
