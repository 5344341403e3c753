"""The pages: unsubscribing by the link in a mail, and the API's own description, which loads nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_server import TOKENS, client, serving
from crm_rows import add_customer, rows

from dashboard.api import shapes
from models.unsubscribe import unsubscribe_token

pytestmark = pytest.mark.usefixtures("tokens")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as found:
        yield found


@pytest.fixture
def tokens(database, configure) -> None:
    configure(**TOKENS)


@pytest.fixture
def anybody(url: str) -> Iterator[httpx.Client]:
    with client(url, None) as found:
        yield found


def unsubscribed() -> bool:
    return bool(rows("SELECT unsubscribed_at IS NOT NULL FROM customers")[0][0])


def test_looking_at_the_link_only_asks(anybody: httpx.Client) -> None:
    add_customer("c <b>1</b>")
    page = anybody.get(f"/unsubscribe/{unsubscribe_token('c <b>1</b>')}")
    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert "<b>" not in page.text and "c &lt;b" not in page.text
    assert not unsubscribed()


@pytest.mark.parametrize("options", [{}, {"data": {"List-Unsubscribe": "One-Click"}}, {"content": b"\xff" * 100_000}])
def test_a_post_unsubscribes_by_the_button_and_by_one_click(anybody: httpx.Client, options: dict[str, Any]) -> None:
    add_customer("c1")
    for _ in range(2):
        page = anybody.post(f"/unsubscribe/{unsubscribe_token('c1')}", **options)
        assert (page.status_code, "You are unsubscribed" in page.text) == (200, True)
    assert unsubscribed()


@pytest.mark.parametrize("token", ["x", "YzE.AAAA", "%00", "\u00e4", "YzE", "YzE.", "a" * 5000])
def test_a_link_that_is_none_says_nothing_of_customers(anybody: httpx.Client, token: str) -> None:
    add_customer("c1")
    for page in (anybody.get(f"/unsubscribe/{token}"), anybody.post(f"/unsubscribe/{token}")):
        assert page.status_code == 404
        assert "This link does not work" in page.text
    assert not unsubscribed()


def test_a_customer_who_is_gone_looks_like_a_wrong_link(anybody: httpx.Client) -> None:
    assert anybody.post(f"/unsubscribe/{unsubscribe_token('gone')}").text == anybody.post("/unsubscribe/x").text


def test_the_pages_load_nothing_and_nobody_frames_them(anybody: httpx.Client) -> None:
    page = anybody.get(f"/unsubscribe/{unsubscribe_token('c1')}")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert not re.search(r"https?://|src=|href=|<script", page.text)


def example(described: dict[str, Any], content: dict[str, Any]) -> Any:
    """The example of an answer, its own or its model's."""
    if "example" in content:
        return content["example"]
    schema = content["schema"].get("items", content["schema"])
    models = [each["$ref"].rpartition("/")[2] for each in schema.get("anyOf", [schema])]
    return all(described["components"]["schemas"][name]["example"] for name in models)


def test_the_examples_are_what_their_models_take() -> None:
    for model in (shapes.JobToAdd, shapes.JobToRetry, shapes.JobInFull, shapes.JobPage, shapes.AddedJobs, shapes.Done):
        sent = model.model_config["json_schema_extra"]["example"]
        kept = model.model_validate(sent).model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert kept.keys() == sent.keys()


def test_the_description_is_complete(anybody: httpx.Client) -> None:
    described = anybody.get("/openapi.json").json()
    operations = [(path, each) for path, methods in described["paths"].items() for each in methods.values()]
    assert len({operation["operationId"] for _, operation in operations}) == len(operations) >= 14
    for path, operation in operations:
        assert operation["summary"] and operation["description"] and len(operation["tags"]) == 1
        assert ("security" in operation) == (not re.match("/(healthz|readyz|unsubscribe|review)", path))
        for answer in operation["responses"].values():
            assert answer["description"] and answer["content"]
            assert "X-Request-ID" in answer["headers"]
            for kind, content in answer["content"].items():
                assert kind == "text/html" or kind.startswith("application/openmetrics") or example(described, content)
    assert {tag["name"] for tag in described["tags"]} == {each["tags"][0] for _, each in operations}
    assert set(described["components"]["securitySchemes"]) == {"lookToken", "actToken", "cronSecret"}
    assert "HTTPValidationError" not in str(described)


def test_the_descriptions_page_refers_to_no_other_host(anybody: httpx.Client) -> None:
    page = anybody.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 3
    for link in links:
        if not link.startswith("data:"):
            found = anybody.get(f"/{link}")
            assert found.status_code == 200
            assert len(found.content) > 100_000
    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self'" in policy and "http" not in policy



def test_the_store_away_is_a_page_for_people(anybody: httpx.Client, configure, tmp_path) -> None:
    add_customer("c1")
    token = unsubscribe_token("c1")
    configure(JOB_QUEUE_DATA_DIR=tmp_path / "file" / "below")
    (tmp_path / "file").write_text("not a folder")
    page = anybody.post(f"/unsubscribe/{token}")
    assert (page.status_code, "try again in a few minutes" in page.text) == (503, True)
    assert str(tmp_path) not in page.text
    assert int(page.headers["Retry-After"]) > 0
