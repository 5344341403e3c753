"""Telling staff: the places of NOTIFY_URLS, each told once for each job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from models.apprise_urls import apprise_urls
from models.exclusive import exclusive
from models.notifications import begin_telling, record_told, told
from models.settings import settings
from tasks.context import stage
from tasks.errors import PermanentError, ServiceDownError
from tasks.services.delivery import PATIENCE_SECONDS
from tasks.services.no_return import to_its_end
from tasks.services.notify import hand_over, place_of, target_of, turn
from tasks.services.service import Service

notify = Service("notify")


class PartlyToldError(ServiceDownError):
    """Some place could not be told this time; the next attempt tells those only."""


@dataclass(frozen=True, slots=True)
class Told:
    """How many places were told by this attempt, and how many by earlier ones."""

    now: int
    before: int


async def tell_staff(job_id: str, *, title: str, body: str, severity: str) -> Told:
    """Hands the text to every place of NOTIFY_URLS that does not have it yet, all at once.

    After a kill between a place's yes and our note of it, that place is told once more (its row's `attempts` says so).

    Raises:
        PermanentError: without NOTIFY_URLS, or when no place is left that another attempt could tell.
        PartlyToldError, Snooze: when another attempt may tell those that are left.
        AlreadyRunningError: when another worker was still telling them after 10 s.
    """
    secret = settings().notify_urls
    if secret is None:
        raise PermanentError(
            "NOTIFY_URLS is not set: put the Apprise URLs there that staff is notified by, then retry this job"
        )
    urls = {target_of(url): url for url in apprise_urls(secret.get_secret_value())}
    # A worker that was taken for dead may still be at it.
    async with exclusive(f"notify {job_id}", patience=PATIENCE_SECONDS):
        done = await told(job_id) & urls.keys()
        left = [(number, target, url) for number, (target, url) in enumerate(urls.items(), 1) if target not in done]
        outcomes = await asyncio.gather(
            *(
                to_its_end(partial(_tell, job_id, number, target, url, title, body, severity))
                for number, target, url in left
            ),
            return_exceptions=True,
        )
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        raise _together(failures, len(urls))
    return Told(len(left), len(done))


async def _tell(job_id: str, number: int, target: str, url: str, title: str, body: str, severity: str) -> None:
    async with turn(), notify.call():
        place = await place_of(url)
        await begin_telling(job_id, target, place)
        await hand_over(url, f"{place} (number {number} of NOTIFY_URLS)", title=title, body=body, severity=severity)
    with stage("record"):
        await record_told(job_id, target)


def _together(failures: list[BaseException], places: int) -> BaseException:
    """One error for all: what another attempt may mend comes first."""
    for failure in failures:
        # A snooze, a cancellation, a database that is away: no matter of the places.
        if not isinstance(failure, PermanentError | ServiceDownError):
            return failure
    text = f"{len(failures)} of {places} places not notified: " + "; ".join(str(failure) for failure in failures)
    if all(isinstance(failure, PermanentError) for failure in failures):
        return PermanentError(text)
    return PartlyToldError(text)
