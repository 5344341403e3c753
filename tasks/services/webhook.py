"""Posting JSON to a customer's webhook: to public addresses and hosts of JOB_QUEUE_WEBHOOK_HOSTS only, signed, each
message once.

Which answers are for good is decided in `_check`, and nowhere else.
"""

from __future__ import annotations

import json
import time
from typing import Any

from models.messages import MessageKey
from models.webhooks import webhook_headers
from tasks.errors import PermanentError, ServiceDownError
from tasks.services.delivery import deliver_alone
from tasks.services.http import ChosenBy, checked_url, guarded_client
from tasks.services.no_return import point_of_no_return

#: For the whole exchange; receivers are to answer first and work later.
ANSWER_SECONDS = 15.0
#: Nobody reads the answer.
LARGEST_ANSWER = 100_000
#: Statuses that say "not now".
_LATER = {408, 425, 429}


class WebhookDownError(ServiceDownError):
    """The customer's server cannot take it just now."""


async def post_once(key: MessageKey, url: str | None, event: str, content: dict[str, Any]) -> bool:
    """Posts `{"type": event, "data": content}` unless it was posted already.

    After a kill between the receiver's yes and our note of it, it is posted once more, with the same `webhook-id`.

    Returns:
        Whether this call posted it.

    Raises:
        PermanentError: when the customer has no usable webhook, or its server refuses the message for good.
        ServiceDownError, AlreadyRunningError: when this attempt failed and another may succeed.
    """
    if url is None or not url.strip():
        raise PermanentError("the customer has no webhook: add its URL in the CRM, then retry this job")
    by = ChosenBy.CUSTOMER
    address = checked_url(url.strip(), chosen_by=by)
    body = json.dumps({"type": event, "data": content}, ensure_ascii=False).encode()

    async def post() -> None:
        headers = webhook_headers(key.customer_id, key.id, int(time.time()), body)
        # A redirect is no yes: followed as browsers do, the message would become a question without a body.
        async with guarded_client(chosen_by=by, seconds=ANSWER_SECONDS, largest=LARGEST_ANSWER, redirects=0) as client:
            point_of_no_return()
            answer = await client.post(address, content=body, headers={"Content-Type": "application/json", **headers})
        _check(answer.status_code)

    return await deliver_alone(key, "webhook", post)


def _check(status: int) -> None:
    if 200 <= status < 300:
        return
    if status >= 500 or status in _LATER:
        raise WebhookDownError(f"webhook: the customer's server answered {status}")
    hint = ", and redirects are not followed: put the new address into the CRM" if 300 <= status < 400 else ""
    raise PermanentError(f"webhook: the customer's server refused the message, answered {status}{hint}")
