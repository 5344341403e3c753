"""Reviews by a signed link: who may write one, until when, and only once."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from crm_rows import add_appointment, add_customer, execute, rows
from hypothesis import given
from hypothesis import strategies as st
from support import at_once

from models.reviews import ReviewAnswer, record_review, review_link, review_of, signed_link
from models.settings import settings
from models.signing import text_of, token
from models.unsubscribe import customer_of, unsubscribe_token

SOON = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(autouse=True)
def completed(database: str) -> None:
    add_customer(name="Anna Müller")
    add_appointment(status="completed", service="Carpets, 3 rooms")


def of(link: str) -> str:
    """The token of a link."""
    assert link.startswith(f"{settings().public_url}/api/review/")
    return link.rpartition("/")[2]


def test_the_link_leads_to_the_appointment_and_takes_one_review() -> None:
    link = of(review_link("a1"))
    asked = review_of(link)
    assert asked is not None
    assert (asked.appointment_id, asked.customer_name, asked.service) == ("a1", "Anna Müller", "Carpets, 3 rooms")
    assert not asked.reviewed and not asked.expired

    assert record_review(link, 5, "  Très bien! {{ 7*7 }} <b>\n") is ReviewAnswer.RECORDED
    assert record_review(link, 1, "no, bad") is ReviewAnswer.REVIEWED
    # Another link to the same appointment is no second review.
    assert record_review(of(signed_link("a1", "c1", SOON)), 1) is ReviewAnswer.REVIEWED

    assert rows("SELECT appointment_id, rating, comment FROM reviews") == [("a1", 5, "Très bien! {{ 7*7 }} <b>")]
    asked = review_of(link)
    assert asked is not None and asked.reviewed


def test_of_reviews_at_the_same_moment_one_is_recorded() -> None:
    link = of(review_link("a1"))

    answers = at_once(4, lambda number: record_review(link, number + 1))

    assert sorted(answers) == [ReviewAnswer.REVIEWED] * 3 + [ReviewAnswer.RECORDED]
    assert len(rows("SELECT FROM reviews")) == 1


def test_a_link_ends_when_it_says() -> None:
    past = of(signed_link("a1", "c1", datetime.now(UTC) - timedelta(minutes=1)))

    asked = review_of(past)

    assert asked is not None and asked.expired
    assert record_review(past, 5) is ReviewAnswer.EXPIRED
    assert rows("SELECT FROM reviews") == []


def test_a_link_lasts_sixty_days() -> None:
    (_, _, expires) = json.loads(text_of("review", of(review_link("a1"))) or "")

    assert 59 < (expires - datetime.now(UTC).timestamp()) / 86_400 < 61


def _signed(text: str, purpose: str = "review") -> str:
    return token(purpose, text)


def _forged(**changes: Any) -> str:
    """The text of a good token changed, its signature kept."""
    name, _, signature = of(review_link("a1")).partition(".")
    appointment, customer, expires = json.loads(base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)))
    values = {"appointment": appointment, "customer": customer, "expires": expires, **changes}
    text = json.dumps([values["appointment"], values["customer"], values["expires"]])
    return f"{base64.urlsafe_b64encode(text.encode()).rstrip(b'=').decode()}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        lambda: _forged(appointment="a2"),
        lambda: _forged(customer="c2"),
        lambda: _forged(expires=9_999_999_999),
        lambda: of(review_link("a1"))[:-1],
        lambda: of(review_link("a1")) + "A",
        lambda: of(review_link("a1")).partition(".")[0],
        lambda: unsubscribe_token("c1"),
        lambda: _signed(json.dumps(["a1", "c1", 9_999_999_999]), "unsubscribe"),
        lambda: of(signed_link("a1", "c2", SOON)),
        lambda: of(signed_link("nothing", "c1", SOON)),
        lambda: of(signed_link("a2", "c1", SOON)),
        lambda: "",
        lambda: ".",
        lambda: "\x00",
        lambda: "\ud800.\ud800",
    ],
)
def test_a_link_that_is_not_for_this_customers_completed_appointment_leads_nowhere(forge: Any) -> None:
    add_customer("c2")
    add_appointment("a2", status="scheduled")

    assert review_of(forge()) is None
    assert record_review(forge(), 5) is ReviewAnswer.UNKNOWN
    assert rows("SELECT FROM reviews") == []


def test_a_review_link_unsubscribes_nobody() -> None:
    assert customer_of(of(review_link("a1"))) is None


def test_an_appointment_that_went_to_another_customer_is_no_longer_the_first_ones_to_review() -> None:
    link = of(review_link("a1"))
    add_customer("c2")
    execute("UPDATE appointments SET customer_id = 'c2'")

    assert review_of(link) is None
    assert record_review(link, 1) is ReviewAnswer.UNKNOWN


@pytest.mark.parametrize("rating", [0, 6, -1, True, 4.5, "5", None, 10**30])
def test_a_rating_is_one_to_five(rating: Any) -> None:
    with pytest.raises(ValueError, match="rating: expected a whole number from 1 to 5"):
        record_review(of(review_link("a1")), rating)


def test_a_comment_is_text_of_bounded_length() -> None:
    link = of(review_link("a1"))
    with pytest.raises(ValueError, match="comment: expected at most 4,000 characters, got 4,001"):
        record_review(link, 5, "x" * 4001)
    for text in ("a\x00b", "\ud800"):
        with pytest.raises(ValueError, match="comment: expected text without NUL"):
            record_review(link, 5, text)
    assert record_review(link, 5, "ü" * 4000) is ReviewAnswer.RECORDED


def test_a_link_to_no_appointment_is_not_made() -> None:
    with pytest.raises(LookupError, match="there is no appointment 'nothing'"):
        review_link("nothing")


@given(purpose=st.sampled_from(["review", "unsubscribe"]), text=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_token_is_good_for_its_text_and_purpose_and_nothing_else(purpose: str, text: str) -> None:
    made = token(purpose, text)

    assert text_of(purpose, made) == text
    assert text_of("another", made) is None
    for place in range(len(made)):
        changed = made[:place] + ("A" if made[place] != "A" else "B") + made[place + 1 :]
        assert text_of(purpose, changed) is None
