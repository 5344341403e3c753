"""Job type `send_reminder`: reminds a customer of an appointment, by the customer's channel and at a decent hour."""

from __future__ import annotations

from datetime import datetime

from prefect.tasks import exponential_backoff
from pydantic import AwareDatetime, Field

from models.appointments import Reminder, find_reminder, reminder_key
from models.contacts import Contact
from models.crm import AppointmentStatus, Channel
from tasks import Payload, PermanentError, processor, stage
from tasks.send_promotion import Id
from tasks.services.channels import Message, send_by_channel
from tasks.services.decent_hour import quiet_until, snooze, zone_of
from tasks.services.mail import company_name
from tasks.services.messages import worded
from tasks.services.wording import Value


class ReminderPayload(Payload):
    appointment_id: Id
    starts_at: AwareDatetime | None = Field(
        None, description="The time to remind of: if the appointment was moved since, nothing is sent."
    )


# No services=: while the mail server is down, those who get text messages are still reminded.
# 10, 20, 40 s, ...: three quarters of an hour in all, for a customer's own server or one that greylists to come round.
@processor(retries=8, retry_delay_seconds=exponential_backoff(10), timeout_seconds=120.0)
async def send_reminder(payload: ReminderPayload) -> dict[str, str]:
    """Reminds a customer of an appointment, once for each time that it is set to, also who has unsubscribed.

    In the customer's quiet hours the reminder is put off until they end. Nothing is sent of an appointment that was
    cancelled, moved (from the payload's `starts_at`) or has begun, or will have when the quiet hours end; the result
    then says `skipped` and why.
    """
    with stage("fetch"):
        found = await find_reminder(payload.appointment_id)
    if found is None:
        raise PermanentError(
            f"there is no appointment {payload.appointment_id!r:.100}: it was deleted, or the id is wrong"
        )
    skipped = _why_not(payload.starts_at, found) or _wait_for_a_decent_hour(found)
    if skipped is None:
        key = reminder_key(found.contact.id, found.subject_id)
        if await send_by_channel(key, found.contact, await _message(payload.appointment_id, found)):
            return {"message_id": key.id, "channel": found.contact.channel}
        skipped = "already sent"
    return {"skipped": skipped}


def _why_not(wanted: datetime | None, found: Reminder) -> str | None:
    if found.status != AppointmentStatus.SCHEDULED:
        return f"the appointment is {found.status}"
    if wanted is not None and wanted != found.starts_at:
        return "the appointment was moved"
    if found.sent:
        return "already sent"
    if found.starts_at <= found.now:
        return "the appointment has begun"
    return None


def _wait_for_a_decent_hour(found: Reminder) -> str | None:
    """Why there is none before the appointment begins.

    Raises:
        Snooze: until the quiet hours end, when it is not too late then.
    """
    until = quiet_until(found.contact, found.now)
    if until is None:
        return None
    if until >= found.starts_at:
        return "quiet hours until the appointment begins"
    raise snooze(found.contact, found.now, until)


async def _message(appointment_id: str, found: Reminder) -> Message:
    zone = zone_of(found.contact)
    local = found.starts_at.astimezone(zone)
    values = _values(found.contact, found.service, local)
    subject, body = "", ""
    if found.contact.channel == Channel.EMAIL:
        subject, body = await worded("reminder", values)
    elif found.contact.channel == Channel.SMS:
        _, body = await worded("reminder_sms", values)
    content = {
        "appointment_id": appointment_id,
        "customer_id": found.contact.id,
        "service": found.service,
        "starts_at": local.isoformat(),
        "time_zone": zone.key,
    }
    return Message(subject, body, body.strip(), "appointment.reminder", content)


def _values(contact: Contact, service: str, local: datetime) -> dict[str, Value]:
    return {
        "customer_name": contact.name.strip(),
        "company": company_name(),
        "service": service,
        "date": f"{local:%A}, {local.day} {local:%B} {local.year}",
        "time": f"{local:%H:%M}",
        "time_zone": local.tzname() or "",
    }
