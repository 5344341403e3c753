"""A message to a customer by the customer's own channel: e-mail, text message or webhook."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.contacts import Contact
from models.crm import Channel
from models.messages import MessageKey
from tasks.services.mail import send_once
from tasks.services.messages import mail_of
from tasks.services.sms import send_sms_once
from tasks.services.webhook import post_once


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `short`: as a text message has it; `event` and `content`: what a webhook gets."""

    subject: str
    body: str
    short: str
    event: str
    content: dict[str, Any] = field(default_factory=dict)


async def send_by_channel(key: MessageKey, contact: Contact, message: Message) -> bool:
    """Sends the message once, by the channel that the customer has chosen.

    Returns:
        Whether this call sent it.

    Raises:
        PermanentError: when the customer cannot be reached by that channel.
    """
    if contact.channel == Channel.SMS:
        return await send_sms_once(key, contact.phone, message.short)
    if contact.channel == Channel.WEBHOOK:
        return await post_once(key, contact.webhook_url, message.event, message.content)
    return await send_once(key, mail_of(contact, message.subject, message.body))
