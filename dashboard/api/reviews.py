"""Where the link in a review request leads: five stars and a word. No token is asked for, as the link is one."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import Form
from starlette.responses import HTMLResponse

from dashboard.api.page_routes import page_answers, page_router
from dashboard.api.pages import no_such_link, page
from dashboard.api.unsubscribe import LinkToken
from models.ids import can_be_stored
from models.reviews import COMMENT_LIMIT, RATINGS, ReviewAnswer, ReviewRequest, record_review, review_of

open_to_all = page_router()

_NAMES = {1: "1 - poor", 2: "2", 3: "3 - fair", 4: "4", 5: "5 - excellent"}


@open_to_all.get(
    "/review/{token}",
    operation_id="askForReview",
    summary="The page that asks",
    responses=page_answers(200, 404, 410, 503),
)
def ask_for_review(token: LinkToken) -> HTMLResponse:
    """The form, or that there is a review already, or that it is too late. Looking at it changes nothing."""
    asked = review_of(token)
    return no_such_link() if asked is None else _answered(asked) or _form(asked)


@open_to_all.post(
    "/review/{token}",
    operation_id="review",
    summary="Write the review",
    responses=page_answers(200, 400, 404, 410, 413, 422, 503),
)
def write_review(
    token: LinkToken,
    rating: Annotated[str, Form(description="1 to 5.")] = "",
    comment: Annotated[str, Form(description=f"At most {COMMENT_LIMIT:,} characters.")] = "",
) -> HTMLResponse:
    """Writes the review down, the first one; later ones are thanked for and change nothing."""
    asked = review_of(token)
    if asked is None:
        return no_such_link()
    answered = _answered(asked)
    if answered is not None:
        return answered
    stars = next((each for each in RATINGS if rating == str(each)), None)
    # A browser sends line breaks as two characters, and counts one.
    comment = comment.replace("\r\n", "\n")
    if stars is None:
        return _form(asked, "Please choose 1 to 5 stars.", comment)
    if len(comment) > COMMENT_LIMIT or not can_be_stored(comment):
        return _form(asked, f"Please use at most {COMMENT_LIMIT:,} characters.", comment[:COMMENT_LIMIT], stars)
    return {
        ReviewAnswer.RECORDED: _thanks,
        ReviewAnswer.REVIEWED: _thanks,
        ReviewAnswer.EXPIRED: _too_late,
        ReviewAnswer.UNKNOWN: no_such_link,
    }[record_review(token, stars, comment)]()


def _answered(asked: ReviewRequest) -> HTMLResponse | None:
    if asked.reviewed:
        return _thanks()
    return _too_late() if asked.expired else None


def _thanks() -> HTMLResponse:
    return page("Thank you", "<p>We have your review.</p>")


def _too_late() -> HTMLResponse:
    words = "It is too late for this review. We would still like to hear from you: please answer the mail."
    return page("This link has run out", f"<p>{words}</p>", 410)


def _form(asked: ReviewRequest, notice: str = "", comment: str = "", stars: int | None = None) -> HTMLResponse:
    choices = "".join(
        f'<label><input type="radio" name="rating" value="{each}" required{" checked" if each == stars else ""}>'
        f" {_NAMES[each]}</label>"
        for each in RATINGS
    )
    return page(
        "How was it?",
        (f'<p role="alert"><strong>{escape(notice)}</strong></p>' if notice else "")
        + f"<p>{escape(asked.customer_name)}, how was our visit on {asked.completed_at:%d %B %Y} "
        f"({escape(asked.service)})?</p>"
        f'<form method="post"><fieldset><legend>Stars</legend>{choices}</fieldset>'
        f'<p><label for="comment">What should we know?</label>'
        f'<textarea id="comment" name="comment" rows="5" maxlength="{COMMENT_LIMIT}">{escape(_shown(comment))}'
        "</textarea></p><button>Send</button></form>",
        422 if notice else 200,
    )


def _shown(comment: str) -> str:
    return comment.replace("\x00", "").encode("utf-8", "replace").decode()
