"""Sending e-mail to customers, each message once: over SMTP_URL, or into the outbox without it.

    key = MessageKey(customer_id, "send_reminder", reminder_id)
    sent = await send_once(key, Mail(to=recipient(name, address), subject=..., text=..., html=...))

A row in `messages` says that a message is about to go out, and then that it went. In the outbox there is exactly one
file per message, whatever happens. A mail server cannot be asked whether it took a mail: after a kill (or a broken
connection) between its yes and our note of it, the mail goes out once more, with the same Message-ID.
"""

from __future__ import annotations

from models.mailbox import Mailbox, mailbox
from models.messages import MessageKey
from models.settings import settings
from models.smtp_url import SmtpServer, smtp_server
from tasks.errors import PermanentError
from tasks.services import outbox
from tasks.services.delivery import deliver, deliver_alone
from tasks.services.mime import Mail, mail_bytes
from tasks.services.smtp import smtp_pool

__all__ = ["Mail", "MessageKey", "company_name", "recipient", "send_once"]


async def send_once(key: MessageKey, mail: Mail) -> bool:
    """Sends the mail unless the message went out already; two jobs at the same time send it once.

    Returns:
        Whether this call sent it.

    Raises:
        PermanentError: when the mail cannot be written as it stands, or the server refuses it for good.
        SmtpError, AlreadyRunningError, OSError: when this attempt failed and another may succeed.
    """
    sender = mailbox(settings().mail_from)
    try:
        content = mail_bytes(mail, sender=sender, message_id=key.id)
    except ValueError as error:
        raise PermanentError(f"mail to the customer {key.customer_id!r:.100}: {error}") from None
    server = _server()
    if server is None:
        return await deliver(key, "outbox", lambda: outbox.keep(key.id, content))
    return await deliver_alone(
        key, "smtp", lambda: smtp_pool(server).send(sender.address, mail.to.address, content), lock="mail"
    )


def recipient(name: str, email: str | None) -> Mailbox:
    """The customer's mailbox.

    Raises:
        PermanentError: when there is no address, it is not exactly one bare address, or the name may not stand in a
            header.
    """
    if email is None or not email.strip():
        raise PermanentError("the customer has no e-mail address: add one in the CRM, then retry this job")
    try:
        return Mailbox(email, name)
    except ValueError as error:
        raise PermanentError(f"the customer cannot be written to: {error}") from None


def company_name() -> str:
    """The sender's name as MAIL_FROM gives it, or its domain."""
    sender = mailbox(settings().mail_from)
    return sender.name or sender.domain


def _server() -> SmtpServer | None:
    url = settings().smtp_url
    return smtp_server(url.get_secret_value()) if url is not None else None
