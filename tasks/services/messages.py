"""What messages say: the built-in wording, or staff's own from `message_templates`, and the mail around it."""

from __future__ import annotations

from dataclasses import dataclass

from models.contacts import Contact
from models.message_templates import stored_template
from tasks.cache import Cache
from tasks.services.mail import Mail, company_name, recipient
from tasks.services.render import render
from tasks.services.wording import Value, Wording, parse_wording

#: What staff has changed is seen after so long.
WORDING_SECONDS = 5.0

_ABOUT_A_VISIT = ("customer_name", "company", "service", "date", "time", "time_zone")


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """A wording, and the names that it and any other in its place may use."""

    names: tuple[str, ...]
    body: str
    subject: str = ""


BUILT_IN = {
    "reminder": _BuiltIn(
        names=_ABOUT_A_VISIT,
        subject="Your appointment on {{ date }}",
        body="We look forward to seeing you:\n\n{{ service }}\n{{ date }} at {{ time }} ({{ time_zone }})\n\n"
        "Should you be unable to make it, please let us know.",
    ),
    "reminder_sms": _BuiltIn(
        names=_ABOUT_A_VISIT, body="{{ company }}: your appointment is on {{ date }} at {{ time }}: {{ service }}"
    ),
    "review_request": _BuiltIn(
        names=("customer_name", "company", "service", "date"),
        subject="How did we do?",
        body="Thank you for having us on {{ date }}:\n\n{{ service }}\n\n"
        "Would you tell us how it went? It takes less than a minute.",
    ),
    "notification": _BuiltIn(
        names=("customer_name", "company", "title", "body", "severity"), subject="{{ title }}", body="{{ body }}"
    ),
    "promotion": _BuiltIn(
        names=("customer_name", "company", "title", "body", "discount"), subject="{{ title }}", body="{{ body }}"
    ),
}


async def worded(name: str, values: dict[str, Value]) -> tuple[str, str]:
    """Subject and body of the message of this name, as plain text.

    Raises:
        WordingError: when staff's own wording cannot be used; it says why.
    """
    wording = await _wordings.get(name)
    assert wording is not None
    return wording.fill(values)


def mail_of(
    contact: Contact,
    subject: str,
    body: str,
    *,
    link: str | None = None,
    link_label: str = "",
    unsubscribe_link: str | None = None,
) -> Mail:
    """The mail with this plain text, in the company's dress.

    Raises:
        PermanentError: when the customer has no usable address.
    """
    name = contact.name.strip()
    text, html = render(
        "message",
        customer_name=name,
        title=subject,
        body=body,
        link=link,
        link_label=link_label,
        unsubscribe_link=unsubscribe_link,
        company=company_name(),
    )
    return Mail(recipient(name, contact.email), subject, text, html, unsubscribe_link)


async def _load(name: str) -> Wording:
    built_in = BUILT_IN[name]
    stored = await stored_template(name)
    subject, body = (built_in.subject, built_in.body) if stored is None else (stored.subject, stored.body)
    return parse_wording(name, subject=subject, body=body, names=built_in.names)


_wordings = Cache(_load, seconds=WORDING_SECONDS)
