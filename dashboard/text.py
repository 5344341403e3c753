"""What people read: durations and counts in plain words, and text of unknown origin made harmless to show.

Error messages, payloads and names come from anywhere. Streamlit reads Markdown in labels, alerts and captions, so what
is not ours goes through `code` there, and through `visible` everywhere else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.masking import masked

#: What a table's cell, a heading and a whole panel show of a text at most; the browser stays quick at 100 KB.
CELL, HEADING, PANEL = 300, 160, 20_000
#: No character of a line shows these: controls, and marks that turn the reading direction around.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff\ud800-\udfff]"
)
_LINE_ENDS = re.compile(r"\s+")
NOTHING = "–"


def visible(value: object, limit: int = CELL) -> str:
    """A text of unknown origin on one line, cut to `limit` characters, what would be invisible written out."""
    return _cut(_LINE_ENDS.sub(" ", _shown(_first(value, limit))).strip(), limit, len(str(value)) > limit * 2)


def block(value: object, limit: int = PANEL) -> str:
    """As `visible`, with its lines kept: for `st.code`."""
    return _cut(_shown(_first(value, limit)), limit, len(str(value)) > limit * 2)


def code(value: object, limit: int = HEADING) -> str:
    """A text of unknown origin as a Markdown code span: nothing in it is a link, an image, a colour or HTML."""
    text = visible(value, limit) or NOTHING
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def plain(value: object, limit: int = HEADING) -> str:
    """One of our own sentences in which names may stand, for Markdown: its special characters are escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~<>$:&@^=-])", r"\\\1", visible(value, limit))


def prose(value: object, limit: int = HEADING) -> str:
    """As `visible`, for a docstring's words where no Markdown is read: what it marks as `code` is put in quotes."""
    return re.sub(r"`+([^`]+)`+", r"“\1”", visible(value, limit))


def payload_text(payload: Any, schema: Mapping[str, Any] | None = None) -> str:
    """A payload or result as indented JSON, its secrets masked."""
    try:
        written = json.dumps(masked(payload, schema), indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "nested too deep to show"
    return block(written)


def payload_line(stored: str | None, schema: Mapping[str, Any] | None = None) -> str:
    """The beginning of a payload, for a table's cell; one that was cut cannot be masked, so it is not shown."""
    try:
        value = json.loads(stored or "null")
        return visible(json.dumps(masked(value, schema), ensure_ascii=False), CELL)
    except (ValueError, RecursionError):
        return "long: open the job to see it"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that matter: 85 ms, 1.2 s, 4 min 10 s, 3 h 5 min, 2 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    for unit, size, smaller, part in (("min", 60, "s", 1), ("h", 3600, "min", 60), ("d", 86_400, "h", 3600)):
        whole, rest = divmod(round(seconds / part), size // part)
        if unit == "d" or whole < {"min": 60, "h": 24}[unit]:
            # Beyond ten of a unit the smaller one is noise.
            return f"{whole:,} {unit} {rest} {smaller}" if rest and whole < 10 else f"{whole:,} {unit}"
    raise AssertionError(seconds)


def about(seconds: float) -> str:
    """A duration as one says it: under a minute, 4 min, 3 h."""
    if seconds < 50:
        return "under a minute"
    return duration(round(seconds / 60) * 60 if seconds < 3600 else round(seconds / 600) * 600)


def count(number: float | None, *, capped: bool = False) -> str:
    """A number with its thousands apart; `capped`: there are at least so many."""
    if number is None or not math.isfinite(number):
        return NOTHING
    return f"{number:,.0f}{'+' if capped else ''}"


def jobs(number: float, *, capped: bool = False) -> str:
    """1 job, 2 jobs, 10,000+ jobs."""
    return f"{count(number, capped=capped)} {'job' if number == 1 and not capped else 'jobs'}"


def share(part: float | None) -> str:
    """A share as a percentage that never rounds a few failures away: 99.97 %, 100 %, 0 %."""
    if part is None or not math.isfinite(part):
        return NOTHING
    if part in (0, 1):
        return f"{part:.0%}"
    shown = f"{part:.1%}"
    if shown in ("0.0%", "100.0%"):
        shown = f"{part:.2%}"
    return {"0.00%": "<0.01%", "100.00%": ">99.99%"}.get(shown, shown)


def size(octets: float) -> str:
    """Bytes as kB, MB, GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000:
            return f"{octets:.0f} {unit}" if octets >= 10 or unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.1f} TB"


def zone_of(name: str | None) -> ZoneInfo:
    """The viewer's zone as the browser says it; UTC where it says none, or one that is not known here."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """17:05:38 in the viewer's zone."""
    return moment.astimezone(zone).strftime("%H:%M:%S")


def moment(when: datetime | None, zone: ZoneInfo) -> str:
    """24 Nov 17:05:38 in the viewer's zone, with the year where it is another."""
    if when is None or when != when:  # NaT is not itself
        return NOTHING
    local = when.astimezone(zone)
    year = "" if local.year == datetime.now(zone).year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {local:%H:%M:%S}"


def utc(when: datetime) -> str:
    """2026-11-24 16:05:38 UTC, for a look beside the viewer's own time."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(seconds: float | None) -> str:
    """just now, 40 s ago, 3 h 5 min ago."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    return "just now" if seconds < 2 else f"{duration(round(seconds))} ago"


def _first(value: object, limit: int) -> str:
    # Cut before it is looked through: a text of many megabytes costs no more than a short one.
    return ("" if value is None else str(value))[: limit * 2]


def _shown(text: str) -> str:
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _cut(text: str, limit: int, was_cut: bool) -> str:
    return f"{text[: limit - 1]}…" if len(text) > limit or was_cut else text
