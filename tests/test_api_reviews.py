"""The page that a review request leads to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from api_server import client, serving
from crm_rows import add_appointment, add_customer, execute, rows

from models.reviews import COMMENT_LIMIT, review_link, signed_link


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def anybody(url: str) -> Iterator[httpx.Client]:
    with client(url, None) as found:
        yield found


@pytest.fixture(autouse=True)
def path(database: str) -> str:
    add_customer(name="Anna <b>M\u00fcller</b>")
    add_appointment(status="completed", service="Carpets & rugs")
    return below(review_link("a1"))


def below(link: str) -> str:
    return link.partition("/api")[2]


def reviews() -> list[tuple]:
    return rows("SELECT rating, comment FROM reviews")


def test_the_form_names_the_visit_and_looking_changes_nothing(anybody: httpx.Client, path: str) -> None:
    page = anybody.get(path)
    assert page.status_code == 200
    assert "Anna &lt;b&gt;M\u00fcller" in page.text and "Carpets &amp; rugs" in page.text
    assert page.text.count('type="radio"') == 5
    assert reviews() == []


def test_a_review_is_written_once(anybody: httpx.Client, path: str) -> None:
    first = anybody.post(path, data={"rating": "4", "comment": "Line one\r\nline <b>two</b> \U0001f600"})
    assert (first.status_code, "Thank you" in first.text) == (200, True)
    assert anybody.post(path, data={"rating": "1"}).status_code == 200
    assert "Thank you" in anybody.get(path).text
    assert reviews() == [(4, "Line one\nline <b>two</b> \U0001f600")]


@pytest.mark.parametrize("form", [{}, {"rating": ""}, {"rating": "6"}, {"rating": "5.0"}, {"rating": "\u0665"}])
def test_without_stars_the_form_comes_again_with_what_was_written(anybody: httpx.Client, path: str, form) -> None:
    page = anybody.post(path, data={**form, "comment": "kept </textarea><script>"})
    assert page.status_code == 422
    assert "Please choose 1 to 5 stars." in page.text
    assert "kept &lt;/textarea&gt;" in page.text and "<script" not in page.text
    assert reviews() == []


def test_a_word_that_is_too_long_or_no_text_comes_back(anybody: httpx.Client, path: str) -> None:
    for comment in ("x" * (COMMENT_LIMIT + 1), "\x00"):
        page = anybody.post(path, data={"rating": "5", "comment": comment})
        assert page.status_code == 422
        assert 'value="5" required checked' in page.text
    assert anybody.post(path, data={"rating": "5", "comment": "x\r\n" * (COMMENT_LIMIT // 2)}).status_code == 200


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"rating=5&comment=" + b"x" * 70_000}, 413),
        ({"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"files": {"rating": b"5"}}, 422),
        ({"content": b"\xff\x00=\xed\xa0\x80"}, 422),
    ],
)
def test_a_form_that_is_none_is_a_page_too(anybody: httpx.Client, path: str, options, status: int) -> None:
    options.setdefault("headers", {} if "files" in options else {"Content-Type": "application/x-www-form-urlencoded"})
    answer = anybody.post(path, **options)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert reviews() == []


def test_a_link_that_ran_out_says_so(anybody: httpx.Client) -> None:
    late = below(signed_link("a1", "c1", datetime.now(UTC) - timedelta(seconds=5)))
    assert anybody.get(late).status_code == 410
    assert anybody.post(late, data={"rating": "5"}).status_code == 410
    assert reviews() == []


def test_a_link_that_is_none_and_one_to_what_is_gone_look_the_same(anybody: httpx.Client, path: str) -> None:
    wrong = anybody.get("/review/YQ.AAAA")
    execute("UPDATE appointments SET status = 'cancelled', completed_at = NULL")
    gone = anybody.get(path)
    assert wrong.status_code == gone.status_code == 404
    assert wrong.text == gone.text
    assert anybody.post(path, data={"rating": "5"}).status_code == 404


def test_an_unsubscribe_token_opens_no_review(anybody: httpx.Client, path: str) -> None:
    assert anybody.get(path.replace("/review/", "/unsubscribe/")).status_code == 404
