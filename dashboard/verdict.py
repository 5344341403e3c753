"""Is it healthy? One sentence, from what is known now: pure, so that every case of it can be tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dashboard.text import about, code, count, jobs, share
from models.payments_in_doubt import COUNTED_UP_TO, LATE_SECONDS, Doubt, PaymentsInDoubt

Level = Literal["good", "notice", "warning", "bad"]
#: A job that is due for less than this is not late: workers look every few seconds, and shifts take turns.
BEHIND_SECONDS = 60.0
#: Failures are a pattern from this many in so long on, if they are this share of what ended.
LATELY_SECONDS, FAILED_JOBS, FAILED_SHARE = 900.0, 5, 0.1
#: By this name in its URL a page is asked for one job type (`state.follow_link`).
ONLY = "only"
_ORDER: dict[Level, int] = {"bad": 0, "warning": 1, "notice": 2, "good": 3}


@dataclass(frozen=True, slots=True)
class Waiting:
    """The due jobs of one type: how many (`capped`: at least so many), and for how long the oldest, in seconds."""

    job_type: str
    due: int
    oldest_seconds: float
    capped: bool = False
    paused: bool = False
    held_seconds: float | None = None
    held_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended of one type lately."""

    job_type: str
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verdict is based on.

    `drain_seconds` (low, high): until nothing is due; None: it does not shrink; high None: it does only now and then.
    """

    workers: int
    silent_workers: int = 0
    jobs_of_silent: int = 0
    waiting: Sequence[Waiting] = ()
    ended: Sequence[Ended] = ()
    drain_seconds: tuple[float, float | None] | None = None
    store_warnings: Sequence[str] = ()
    payments: PaymentsInDoubt = PaymentsInDoubt()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is so: how bad, in a sentence (Markdown; what is not ours as code), and the page to go to.

    `place`: what is behind the question mark of the page's URL.
    """

    level: Level
    sentence: str
    page: str = ""
    place: Mapping[str, str] = field(default_factory=dict)


def verdict(facts: Facts) -> list[Finding]:
    """All that is not as it should be, the worst first; a single "Healthy" when nothing is."""
    findings = [*_workers(facts), *_waiting(facts), *_failures(facts), *_payments(facts.payments), *_store(facts)]
    if not findings:
        return [Finding("good", "Healthy")]
    return sorted(findings, key=lambda finding: _ORDER[finding.level])


def draining(low: float, high: float | None) -> str:
    """How long until nothing is due, as a range: draining, about 12 min left."""
    if high is None:
        return "it drains now and then, no end can be told"
    shortest, longest = about(low), about(high)
    if shortest == longest:
        return f"draining, {'' if shortest.startswith('under') else 'about '}{shortest} left"
    return f"draining, {shortest} to {longest} left"


def _workers(facts: Facts) -> list[Finding]:
    findings = []
    due = sum(each.due for each in facts.waiting)
    if due and not facts.workers:
        sentence = f"{jobs(due)} {'waits' if due == 1 else 'wait'} and no worker runs; start one: `jobs worker`"
        findings.append(Finding("bad", sentence, "active"))
    if facts.silent_workers:
        word = "worker is" if facts.silent_workers == 1 else "workers are"
        sentence = f"{count(facts.silent_workers)} {word} silent"
        if facts.jobs_of_silent:
            whose = "its" if facts.silent_workers == 1 else "their"
            sentence += f"; {whose} {jobs(facts.jobs_of_silent)} will be put back into the queue"
        findings.append(Finding("bad" if not facts.workers else "warning", sentence, "active"))
    return findings


def _waiting(facts: Facts) -> list[Finding]:
    findings = []
    late = [each for each in facts.waiting if each.due and each.oldest_seconds > BEHIND_SECONDS]
    for each in sorted(late, key=lambda each: -each.oldest_seconds):
        name, waiting = code(each.job_type), jobs(each.due, capped=each.capped)
        verb = "waits" if each.due == 1 else "wait"
        if each.paused:
            findings.append(Finding("notice", f"{name} is paused; {waiting} {verb}", *_queue_of(each)))
        elif each.held_seconds is not None and each.held_seconds > 0:
            why = f": {code(each.held_reason)}" if each.held_reason else ""
            sentence = f"{name} is held for {about(each.held_seconds)}{why}; {waiting} {verb}"
            findings.append(Finding("warning", sentence, *_queue_of(each)))
        elif facts.workers:
            findings.append(_behind(each, facts))
    return findings


def _behind(each: Waiting, facts: Facts) -> Finding:
    sentence = f"{code(each.job_type)} is {about(each.oldest_seconds)} behind"
    if facts.drain_seconds is None:
        sentence += f" and not draining; {jobs(each.due, capped=each.capped)} wait"
        return Finding("bad", sentence, *_queue_of(each))
    return Finding("warning", f"{sentence}; {draining(*facts.drain_seconds)}", *_queue_of(each))


def _queue_of(each: Waiting) -> tuple[str, dict[str, str]]:
    return "queue", {ONLY: each.job_type}


def _failures(facts: Facts) -> list[Finding]:
    findings = []
    for each in sorted(facts.ended, key=lambda each: -each.failed):
        ended = each.completed + each.failed
        if each.failed >= FAILED_JOBS and each.failed / ended >= FAILED_SHARE:
            sentence = (
                f"{code(each.job_type)} fails: {count(each.failed)} of {count(ended)} jobs"
                f" ({share(each.failed / ended)}) in the last {about(LATELY_SECONDS)}"
            )
            level: Level = "bad" if each.failed * 2 >= ended else "warning"
            findings.append(Finding(level, sentence, "failed", {ONLY: each.job_type}))
    return findings


def _payments(doubt: PaymentsInDoubt) -> list[Finding]:
    findings = []
    late, unasked, asked = about(LATE_SECONDS), doubt.unasked, doubt.asked
    if unasked.late:
        what = "retry its job, or add one" if unasked.late == 1 else "retry their jobs, or add some"
        sentence = f"no job asks Stripe any more about {_late(unasked)} in doubt for over {late}; {_oldest(unasked)}"
        findings.append(_about_the_oldest(unasked, "warning", f"{sentence}: {what}"))
    if asked.late:
        verb = "has" if asked.late == 1 else "have"
        sentence = f"{_late(asked)} {verb} waited over {late} for the bank's answer; {_oldest(asked)}"
        # A debit takes days: no alarm.
        findings.append(_about_the_oldest(asked, "notice", sentence))
    return findings


def _about_the_oldest(doubt: Doubt, level: Level, sentence: str) -> Finding:
    if doubt.oldest_job_id is None:
        return Finding(level, sentence)
    return Finding(level, sentence, "job", {"id": doubt.oldest_job_id})


def _oldest(doubt: Doubt) -> str:
    return f"the oldest, of invoice {code(doubt.oldest_invoice_id)}, {about(doubt.oldest_seconds)}"


def _late(doubt: Doubt) -> str:
    number = count(doubt.late, capped=doubt.late >= COUNTED_UP_TO)
    return f"{number} {'payment' if doubt.late == 1 else 'payments'}"


def _store(facts: Facts) -> list[Finding]:
    if not facts.store_warnings:
        return []
    more = f" and {len(facts.store_warnings) - 1} more" if len(facts.store_warnings) > 1 else ""
    return [Finding("warning", f"The database needs a look: {code(facts.store_warnings[0])}{more}", "store")]
