"""Job type `send_notification`: a message to staff, through the Apprise URLs of NOTIFY_URLS, or to one customer."""

from __future__ import annotations

from typing import Any, Literal

from prefect.tasks import exponential_backoff
from pydantic import Field

from models.contacts import Contact, find_contact
from models.crm import Channel
from models.ids import new_job_id
from models.messages import MessageKey
from tasks import Payload, PermanentError, current_job, processor, stage
from tasks.send_promotion import Id
from tasks.services.channels import Message, send_by_channel
from tasks.services.decent_hour import quiet_until, snooze
from tasks.services.mail import company_name
from tasks.services.messages import worded
from tasks.services.staff import tell_staff
from tasks.services.wording import Value

STAFF = "staff"


class NotificationPayload(Payload):
    audience: Id = Field(description="`staff`, or a customer's id.")
    title: str = Field(min_length=1, max_length=250)
    body: str = Field(min_length=1, max_length=4_000, description="Plain text.")
    severity: Literal["info", "success", "warning", "critical"] = "info"


@processor(
    # 5, 10, 20 s, ...: five minutes in all; later nobody needs it.
    retries=6,
    retry_delay_seconds=exponential_backoff(5),
    # Each place is called in a thread and answers within 20 s.
    timeout_seconds=120.0,
    batch_size=8,
    services=("notify",),
)
async def send_notification(payload: NotificationPayload) -> dict[str, Any]:
    """Notifies staff at every place of NOTIFY_URLS, or a customer by the customer's channel; each once for each job.

    When some places could not be told, a retry tells those only. A customer's quiet hours are kept unless the message
    is critical.
    """
    job = current_job()
    job_id = job.id if job is not None else new_job_id()
    if payload.audience == STAFF:
        with stage("work"):
            told = await tell_staff(job_id, title=payload.title, body=payload.body, severity=payload.severity)
        return {"places": told.now, "already": told.before}
    with stage("fetch"):
        found = await find_contact(payload.audience)
    if found is None:
        raise PermanentError(f"there is no customer {payload.audience!r:.100}: it was deleted, or the id is wrong")
    contact, now = found
    until = quiet_until(contact, now) if payload.severity != "critical" else None
    if until is not None:
        raise snooze(contact, now, until)
    key = MessageKey(contact.id, "send_notification", job_id)
    if await send_by_channel(key, contact, await _message(payload, contact)):
        return {"message_id": key.id, "channel": contact.channel}
    return {"skipped": "already sent"}


async def _message(payload: NotificationPayload, contact: Contact) -> Message:
    values: dict[str, Value] = {
        "customer_name": contact.name.strip(),
        "company": company_name(),
        "title": payload.title,
        "body": payload.body,
        "severity": payload.severity,
    }
    subject, body = "", ""
    if contact.channel != Channel.WEBHOOK:
        subject, body = await worded("notification", values)
    content = {"title": payload.title, "body": payload.body, "severity": payload.severity}
    return Message(subject, body, f"{subject}\n{body}".strip(), "notification", content)
