"""Reviews by the signed link in a mail: making the link, what it leads to, and writing a customer's review down.

The link works without a log-in, for 60 days, for one appointment and one review. It never leads anywhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models import database
from models.ids import can_be_stored
from models.settings import settings
from models.signing import text_of, token
from models.sql import statement

#: Below PUBLIC_URL; what the API serves.
REVIEW_PATH = "/api/review/"
#: Who has not answered in two months has forgotten the visit.
LINK_DAYS = 60
RATINGS = range(1, 6)
COMMENT_LIMIT = 4_000

_PURPOSE = "review"


class ReviewAnswer(StrEnum):
    """What became of a review that was handed in."""

    RECORDED = "recorded"
    REVIEWED = "already reviewed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What a link asks about. `reviewed`: there is a review; `expired`: it is too late; else one may be written."""

    appointment_id: str
    customer_name: str
    service: str
    completed_at: datetime
    reviewed: bool
    expired: bool


def review_link(appointment_id: str) -> str:
    """A link to the review of an appointment, from now on.

    Raises:
        LookupError: when there is no such appointment.
    """
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT customer_id, now() + make_interval(days => %s) FROM appointments WHERE id = %s",
            [LINK_DAYS, appointment_id],
        ).fetchone()
    if row is None:
        raise LookupError(f"there is no appointment {appointment_id!r:.100}")
    return signed_link(appointment_id, *row)


def signed_link(appointment_id: str, customer_id: str, expires: datetime) -> str:
    """The link for this customer's review of this appointment, until then."""
    text = json.dumps([appointment_id, customer_id, int(expires.timestamp())], ensure_ascii=False)
    return f"{settings().public_url}{REVIEW_PATH}{token(_PURPOSE, text)}"


def review_of(token: str) -> ReviewRequest | None:
    """What the link's token asks about; None when it was not made by us, or there is nothing to review (any more)."""
    asked = _asked(token)
    if asked is None:
        return None
    with database.transaction() as connection:
        row = connection.execute(statement("find_review"), asked).fetchone()
    return ReviewRequest(*row) if row is not None else None


def record_review(token: str, rating: int, comment: str = "") -> ReviewAnswer:
    """Writes the review down: the first one for the appointment, as long as the link is good.

    Raises:
        ValueError: for a rating that is not 1 to 5, or a comment that is too long or no text.
    """
    if isinstance(rating, bool) or not isinstance(rating, int) or rating not in RATINGS:
        raise ValueError(f"rating: expected a whole number from 1 to 5, got {rating!r:.60}")
    comment = comment.strip()
    if len(comment) > COMMENT_LIMIT:
        raise ValueError(f"comment: expected at most {COMMENT_LIMIT:,} characters, got {len(comment):,}")
    if not can_be_stored(comment):
        raise ValueError("comment: expected text without NUL characters and halves of surrogate pairs")
    asked = _asked(token)
    if asked is None:
        return ReviewAnswer.UNKNOWN
    with database.transaction() as connection:
        row = connection.execute(
            statement("record_review"), {**asked, "rating": rating, "comment": comment}
        ).fetchone()
    if row is None:
        return ReviewAnswer.UNKNOWN
    recorded, expired = row
    if recorded:
        return ReviewAnswer.RECORDED
    return ReviewAnswer.EXPIRED if expired else ReviewAnswer.REVIEWED


def _asked(token: str) -> dict[str, str | int] | None:
    """What was signed: the parameters of both statements."""
    text = text_of(_PURPOSE, token)
    if text is None:
        return None
    appointment_id, customer_id, expires = json.loads(text)
    return {"appointment_id": appointment_id, "customer_id": customer_id, "expires": expires}
