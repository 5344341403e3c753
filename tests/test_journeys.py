"""What operators do at the dashboard, in a real browser, with a real worker behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from models import operations
from models.passwords import password_hash
from models.roles import Actor
from tests.browser import NARROW, WIDE, Dashboard, dashboard, flawless, settled, visit
from tests.running import Process, Rows, empty, ready, until, worker

PAGES = ("", "active", "queue", "failed", "history", "job", "schedules", "store")
LETTERS = 12
VIEWERS = "only ever looking"
OPERATOR = Actor("somebody else", "operator")
FOREIGN = "http://foreign.example"
HOSTILE = (
    f"<img src='{FOREIGN}/pixel.png' onerror='window.owned = 1'><script>window.owned = 1</script>"
    f"![picture]({FOREIGN}/picture.png) [link]({FOREIGN}/link) :red[red] $x$ `code` <b id='owned'>bold</b>"
)

#: Keeps what the tables draw, and where: they are canvases.
DRAWN = """
window.drawn = {}
const fill = CanvasRenderingContext2D.prototype.fillText
CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
    const at = this.getTransform(), box = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio
    window.drawn[text] = [box.x + (at.a * x + at.e) / ratio, box.y + (at.d * y + at.f) / ratio]
    return fill.call(this, text, x, y, ...rest)
}
"""


@dataclass
class Stage:
    """A dashboard, a worker and the rows of their database."""

    dashboard: Dashboard
    worker: Process
    rows: Rows
    post_office: Path

    def job(self, job_type: str, payload: str = "{}", **columns: object) -> str:
        """A job, as anybody adds one by plain SQL."""
        columns = {"job_type": job_type, "payload": payload, "max_retries": 0, **columns}
        marks = ", ".join(["%s"] * len(columns))
        sql = f"INSERT INTO background_jobs ({', '.join(columns)}) VALUES ({marks}) RETURNING id"
        return str(self.rows.one(sql, *columns.values()))

    def running(self, job_id: str) -> bool:
        return bool(self.rows.job(job_id)["status"] == "processing")


@pytest.fixture(scope="module")
def stage(migrated: str, prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # Of all that tests of other files left, too: payments in doubt and open breakers are findings of the Overview.
    empty(migrated)
    post_office = tmp_path_factory.mktemp("post") / "office"
    rows = Rows(migrated)
    with ExitStack() as children:
        crew = children.enter_context(
            worker(
                "deliver_letter", "long_rest",
                JOB_QUEUE_MODULES="tests.journey_processors", JOURNEY_POST_OFFICE=str(post_office),
                JOB_QUEUE_CONCURRENCY="2",
            )
        )  # fmt: skip
        shown = children.enter_context(dashboard())
        ready(crew, rows)
        yield Stage(shown, crew, rows, post_office)
        assert shown.foreign == []
    rows.close()


@pytest.fixture
def page(stage: Stage, browser: Browser) -> Iterator[Page]:
    """A wide, light page of a new visitor."""
    with stage.dashboard.visitor(browser) as opened:
        yield opened


def _press(page: Page, key: str) -> None:
    """Clicks the button with this key."""
    page.locator(f".st-key-{key} button").click()


def _arrives(page: Page, path: str, **place: str) -> None:
    """Waits until a click has led to this path, with these parameters behind the question mark among others."""

    def there(url: str) -> bool:
        parts = urlsplit(url)
        found = parse_qs(parts.query)
        return parts.path == path and all(value in found.get(name, []) for name, value in place.items())

    page.wait_for_url(there)
    settled(page)


def _hovers(page: Page, over: Callable[[], None], shown: Locator) -> None:
    """Moves the mouse over something until a tip is shown; what is drawn again meanwhile may move, or take it away."""

    def seen() -> bool:
        page.mouse.move(0, 0)
        over()
        page.wait_for_timeout(1000)
        return shown.is_visible()

    until(seen, what="the tip")


def test_the_failing_type_is_found_its_error_opened_retried_and_seen_to_drain(stage: Stage, page: Page) -> None:
    ids = [stage.job("deliver_letter", json.dumps({"number": number}), priority=8) for number in range(LETTERS)]
    until(lambda: stage.rows.count("failed", "deliver_letter") == LETTERS, what="the failures")

    visit(page, "/")
    expect(page.get_by_text(re.compile(rf"\b{LETTERS} failed"))).to_be_visible()
    finding = page.locator(".st-key-verdict").get_by_text("deliver_letter fails")
    expect(finding).to_be_visible()
    page.locator(".st-key-verdict").get_by_role("link", name="Look").first.click()
    # The link's filter holds, though the Overview has one of the same name, which was empty.
    _arrives(page, "/failed", type="deliver_letter")
    expect(page.locator(".st-key-filters")).to_contain_text("deliver_letter")
    expect(page.get_by_text("the post office refused letter")).to_have_count(1)
    expect(page.locator("code", has_text="deliver_letter").first).to_be_visible()
    page.reload()
    settled(page)
    expect(page.locator(".st-key-filters")).to_contain_text("deliver_letter")
    page.locator("[class*=st-key-open_] button").click()
    page.wait_for_url(lambda url: bool(parse_qs(urlsplit(url).query).get("group")))
    settled(page)

    def at_hand() -> bool:
        button, table = (page.locator(each).first.bounding_box() for each in (".st-key-retry_chosen", ".stDataFrame"))
        return bool(button and table and button["y"] < table["y"])

    until(at_hand, what="that what is done with rows is seen where they are chosen")

    stage.post_office.touch()
    _press(page, "retry_group")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{LETTERS} jobs")
    _press(page, "bulk_yes")
    expect(page.locator(".st-key-notice")).to_contain_text("The retry has begun")
    until(lambda: stage.rows.count("completed", "deliver_letter") == LETTERS, what="the letters' delivery")
    expect(page.get_by_text("No job of this group is failed any more")).to_be_visible()
    assert {stage.rows.job(job_id)["status"] for job_id in ids} == {"completed"}
    assert stage.rows.one("SELECT count(*) FROM audit_log WHERE action LIKE '%%retry%%'") > 0


def test_retrying_a_job_that_a_worker_has_taken_meanwhile_changes_nothing_and_says_so(stage: Stage, page: Page) -> None:
    job_id = stage.job("long_rest", status="failed", completed_at="now", error_message="tired")
    visit(page, f"/job?id={job_id}")
    expect(page.get_by_text("tired").first).to_be_visible()
    page.locator(".st-key-live label").first.click()  # the page stays as it is: stale in a moment
    expect(page.locator(".st-key-every input")).to_be_disabled()
    settled(page)
    assert operations.retry([job_id], OPERATOR).done == 1
    until(lambda: stage.running(job_id), what="the worker to take it")
    started = stage.rows.job(job_id)["started_at"]

    _press(page, "retry_job")
    expect(page.locator(".st-key-notice")).to_contain_text("running")
    assert stage.rows.job(job_id)["started_at"] == started and stage.running(job_id)
    operations.cancel([job_id], OPERATOR)


def test_a_running_job_is_cancelled_and_its_worker_lets_go_of_it(stage: Stage, page: Page) -> None:
    job_id = stage.job("long_rest", '{"seconds": 600}')
    until(lambda: stage.running(job_id), what="the job's start")
    visit(page, "/active")
    expect(page.get_by_text("Nothing runs at the moment")).to_have_count(0)
    visit(page, f"/job?id={job_id}")
    _press(page, "cancel_job")
    _press(page, "cancel_one_yes")
    expect(page.locator(".st-key-notice")).to_contain_text("cancelled")
    assert stage.rows.job(job_id)["status"] == "cancelled"
    visit(page, "/active")
    expect(page.get_by_text("Nothing runs at the moment")).to_be_visible()


def test_a_paused_type_waits_until_it_is_resumed(stage: Stage, page: Page) -> None:
    visit(page, "/queue?job_type=deliver_letter")
    _press(page, "pause")
    _press(page, "pause_yes")
    expect(page.locator(".st-key-resume button")).to_be_visible()
    stage.post_office.touch()
    waiting = stage.job("deliver_letter", '{"number": 99}', priority=10)
    later = stage.job("long_rest", '{"seconds": 0}', priority=1)
    until(lambda: stage.rows.job(later)["status"] == "completed", what="a job of another type")
    assert stage.rows.job(waiting)["status"] == "pending"
    _press(page, "resume")
    until(lambda: stage.rows.job(waiting)["status"] == "completed", what="the job after the pause")


def test_a_findings_link_is_in_the_url_whatever_the_page_before_was_filtered_by(stage: Stage, page: Page) -> None:
    operations.pause("long_rest", OPERATOR)
    late = stage.job("long_rest", '{"seconds": 0}', priority=1, scheduled_for="2026-01-15 11:00:00+00")
    try:
        for filtered in ("", "?type=deliver_letter"):
            visit(page, f"/{filtered}")
            expect(page.locator(".st-key-verdict").get_by_text("long_rest is paused")).to_be_visible()
            page.locator(".st-key-verdict a[href*='only=long_rest']").click()
            _arrives(page, "/queue", job_type="long_rest")
            page.reload()
            settled(page)
            expect(page.locator(".st-key-resume button")).to_be_visible()
    finally:
        operations.resume("long_rest", OPERATOR)
    until(lambda: stage.rows.job(late)["status"] == "completed", what="the job after the pause")


def test_a_filtered_page_is_shared_by_its_link(stage: Stage, page: Page, browser: Browser) -> None:
    for number, name in enumerate(("apples", "pears")):
        stage.job(
            "deliver_letter", json.dumps({"number": 200 + number}), status="failed", completed_at="now",
            error_message=f"no room for {name}",
        )  # fmt: skip
    visit(page, "/history")
    page.locator(".st-key-text input").fill("pears")
    page.locator(".st-key-text input").press("Enter")
    page.wait_for_url(re.compile("text=pears"))
    settled(page)
    with stage.dashboard.visitor(browser) as colleague:
        visit(colleague, page.url)
        expect(colleague.locator(".st-key-text input")).to_have_value("pears")
        visit(colleague, page.url.replace("/history", "/failed"))
        expect(colleague.get_by_text("no room for pears").first).to_be_visible()
        expect(colleague.get_by_text("no room for apples")).to_have_count(0)


def test_a_tables_times_say_their_zone_on_hover_and_are_utc_at_a_switch(stage: Stage, page: Page) -> None:
    stage.job(
        "deliver_letter", status="failed", error_message="dated", created_at="2026-01-15 11:00:00+00",
        completed_at="2026-01-15 11:00:05+00",
    )  # fmt: skip
    page.add_init_script(DRAWN)
    visit(page, "/history?text=dated")
    page.wait_for_function("'15 Jan 12:00:05' in window.drawn && 'Ended' in window.drawn")
    tip = page.get_by_test_id("stDataFrameTooltipContent").filter(has_text="Europe/Berlin, UTC+1")
    _hovers(page, lambda: page.mouse.move(*page.evaluate("window.drawn['Ended']")), tip)
    page.locator(".st-key-utc label").first.click()
    page.wait_for_function("'15 Jan 11:00:05' in window.drawn")
    expect(page.get_by_text(re.compile(r"as of [\d:]+ UTC"))).to_be_visible()


def test_a_viewer_signs_in_looks_and_is_refused_what_changes_things(stage: Stage, browser: Browser) -> None:
    job_id = stage.job("deliver_letter", '{"number": 300}', status="failed", completed_at="now", error_message="no")
    with (
        dashboard(DASHBOARD_VIEWER_PASSWORD_HASH=password_hash(VIEWERS)) as closed,
        closed.visitor(browser) as page,
    ):
        streams: list[str] = []
        page.on("websocket", lambda websocket: streams.append(websocket.url))
        page.goto(f"/job?id={job_id}")
        expect(page.get_by_label("Password")).to_be_visible()
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("That is not the password")
        assert not streams
        page.get_by_label("Your name").fill("Vera")
        page.get_by_label("Password").fill(VIEWERS)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**/job?id={job_id}")
        settled(page)
        assert streams
        retry = page.locator(".st-key-retry_job button").locator("visible=true")
        expect(retry).to_be_disabled()
        _hovers(page, lambda: retry.hover(force=True), page.get_by_text("Needs the operator role"))
        expect(page.get_by_text("Vera")).to_be_visible()
        page.get_by_role("link", name="Sign out").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        assert VIEWERS not in closed.child.output and "argon2" not in closed.child.output
        assert closed.foreign == []
    assert stage.rows.job(job_id)["status"] == "failed"


def test_hostile_texts_are_shown_as_text_and_reach_nobody(stage: Stage, page: Page) -> None:
    job_id = stage.job(
        "deliver_letter", json.dumps({"number": 400, "note": HOSTILE}), status="failed", completed_at="now",
        error_message=HOSTILE,
    )  # fmt: skip
    stage.rows.all(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, traceback, fingerprint, failed_at)"
        " VALUES (%s, 'deliver_letter', 1, %s, %s, %s, 'hostile', now())",
        job_id, HOSTILE[:100], HOSTILE, HOSTILE,
    )  # fmt: skip
    # A type nobody knows: plain SQL may hold any name.
    stage.job(HOSTILE[:50], status="failed", completed_at="now", error_message=HOSTILE)
    for path in ("/", "/failed", "/failed?group=hostile", "/history", f"/job?id={job_id}", "/queue", "/active"):
        visit(page, path)
        made = page.locator("#owned, img[src*='foreign.example'], a[href*='foreign.example'], script:text('owned')")
        assert made.count() == 0, path
        assert page.evaluate("window.owned") is None, path
        flawless(page)
    visit(page, f"/job?id={job_id}")
    expect(page.get_by_text("<script>window.owned = 1</script>").first).to_be_visible()
    assert stage.dashboard.foreign == []


def _background(page: Page) -> str:
    return str(page.locator("[data-testid=stApp]").evaluate("element => getComputedStyle(element).backgroundColor"))


def test_no_page_has_a_flaw_in_light_or_dark_wide_or_narrow(stage: Stage, page: Page) -> None:
    for name in PAGES:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        visit(page, f"/{name}")
        backgrounds: set[str] = set()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for size in (WIDE, NARROW):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                settled(page)
                flawless(page)
            until(lambda seen=backgrounds: _background(page) not in seen, what=f"the {scheme} theme of /{name}")
            backgrounds.add(_background(page))
    assert stage.dashboard.foreign == []
