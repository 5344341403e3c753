"""Job type `send_review_request`: asks a customer for a review of a completed visit, by mail with a signed link."""

from __future__ import annotations

from prefect.tasks import exponential_backoff

from models.appointments import ASK_AGAIN_DAYS, Visit, find_visit, review_key
from models.crm import AppointmentStatus
from models.review_requests import Begun, begin_review_request, withdraw_review_request
from models.reviews import signed_link
from models.unsubscribe import unsubscribe_link
from tasks import Payload, PermanentError, ServiceDownError, Snooze, processor, stage
from tasks.send_promotion import Id
from tasks.services.decent_hour import zone_of
from tasks.services.mail import Mail, company_name, send_once
from tasks.services.messages import mail_of, worded


class ReviewRequestPayload(Payload):
    appointment_id: Id


@processor(retries=6, retry_delay_seconds=exponential_backoff(10), timeout_seconds=120.0, services=("smtp",))
async def send_review_request(payload: ReviewRequestPayload) -> dict[str, str]:
    """Asks the customer of a completed appointment for a review: once for each, and not again within 90 days.

    Nothing is sent to who has unsubscribed, of what was reviewed already or is not completed; the result then says
    `skipped` and why.
    """
    with stage("fetch"):
        visit = await find_visit(payload.appointment_id)
    if visit is None:
        raise PermanentError(
            f"there is no appointment {payload.appointment_id!r:.100}: it was deleted, or the id is wrong"
        )
    skipped = _why_not(visit)
    if skipped is not None:
        return {"skipped": skipped}
    key = review_key(visit.contact.id, payload.appointment_id)
    mail = await _mail(payload.appointment_id, visit)
    with stage("record"):
        begun = await begin_review_request(key)
    if begun is Begun.ASKED_LATELY:
        return {"skipped": f"asked within {ASK_AGAIN_DAYS} days"}
    try:
        sent = await send_once(key, mail)
    except (PermanentError, Snooze) as error:
        # Refused, or not even tried: another visit may be asked about. Put off because of a broken connection, nobody
        # knows whether it was sent.
        tried = isinstance(error, Snooze) and isinstance(error.__cause__, ServiceDownError)
        if begun is Begun.NEW and not tried:
            await withdraw_review_request(key)
        raise
    return {"message_id": key.id} if sent else {"skipped": "already sent"}


def _why_not(visit: Visit) -> str | None:
    if visit.status != AppointmentStatus.COMPLETED:
        return f"the appointment is {visit.status}"
    if visit.sent:
        return "already sent"
    if visit.reviewed:
        return "already reviewed"
    if visit.contact.unsubscribed:
        return "unsubscribed"
    return None


async def _mail(appointment_id: str, visit: Visit) -> Mail:
    contact = visit.contact
    local = visit.completed_at.astimezone(zone_of(contact))
    subject, body = await worded(
        "review_request",
        {
            "customer_name": contact.name.strip(),
            "company": company_name(),
            "service": visit.service,
            "date": f"{local:%A}, {local.day} {local:%B} {local.year}",
        },
    )
    return mail_of(
        contact,
        subject,
        body,
        link=signed_link(appointment_id, contact.id, visit.link_ends),
        link_label="Write a review",
        unsubscribe_link=unsubscribe_link(contact.id),
    )
