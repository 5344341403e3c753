"""Text messages by the service of SMS_URL, an Apprise URL that the phone number is put into."""

from __future__ import annotations

from urllib.parse import quote

from models.apprise_urls import PHONE
from models.contacts import e164
from models.messages import MessageKey
from models.settings import settings
from tasks.errors import PermanentError
from tasks.services.delivery import deliver_alone
from tasks.services.notify import hand_over, turn
from tasks.services.service import Service

#: Ten parts of 160: what services take as one message.
TEXT_LIMIT = 1_600

sms = Service("sms")


async def send_sms_once(key: MessageKey, phone: str | None, text: str) -> bool:
    """Sends the text message unless it went out already.

    A service cannot be asked whether it took a text message: after a kill between its yes and our note of it, the
    message goes out once more.

    Returns:
        Whether this call sent it.

    Raises:
        PermanentError: without SMS_URL or a usable number, or when the service refuses it for good.
        NotifyDownError, AlreadyRunningError: when this attempt failed and another may succeed.
    """
    template = settings().sms_url
    if template is None:
        raise PermanentError(
            "SMS_URL is not set: put the Apprise URL of your SMS service there, with {phone} in it, then retry"
        )
    if phone is None or not phone.strip():
        raise PermanentError("the customer has no phone number: add one in the CRM, then retry this job")
    try:
        number = e164(phone)
    except ValueError as error:
        raise PermanentError(f"the customer cannot be sent a text message: {error}") from None
    if not text.strip() or len(text) > TEXT_LIMIT:
        raise PermanentError(f"text message: expected 1 to {TEXT_LIMIT:,} characters, got {len(text):,}")
    url = template.get_secret_value().replace(PHONE, quote(number, safe=""))

    async def send() -> None:
        async with turn(), sms.call():
            await hand_over(url, "SMS_URL", title="", body=text)

    return await deliver_alone(key, "sms", send)
