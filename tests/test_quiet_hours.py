"""Quiet hours: by the customer's own clock, also on the days on which it is changed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.quiet_hours import QuietHours, parse_span, time_zone

MINUTE = timedelta(minutes=1)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def quiet(span: str, zone: str) -> QuietHours:
    return QuietHours(*parse_span(span), time_zone(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("span", "zone", "moment", "end"),
    [
        # Over midnight, and within a day.
        ("20:00-08:00", "UTC", "2026-06-01T19:59:59+00:00", "2026-06-01T19:59:59+00:00"),
        ("20:00-08:00", "UTC", "2026-06-01T20:00:00+00:00", "2026-06-02T08:00:00+00:00"),
        ("20:00-08:00", "UTC", "2026-06-02T07:59:59.999999+00:00", "2026-06-02T08:00:00+00:00"),
        ("20:00-08:00", "UTC", "2026-06-02T08:00:00+00:00", "2026-06-02T08:00:00+00:00"),
        ("12:00-14:00", "UTC", "2026-06-01T13:00:00+00:00", "2026-06-01T14:00:00+00:00"),
        ("12:00-14:00", "UTC", "2026-06-01T23:00:00+00:00", "2026-06-01T23:00:00+00:00"),
        ("08:00-08:00", "UTC", "2026-06-01T08:00:00+00:00", "2026-06-01T08:00:00+00:00"),
        # The customer's clock, not ours.
        ("20:00-08:00", "Asia/Kathmandu", "2026-06-01T14:15:00+00:00", "2026-06-02T08:00:00+05:45"),
        # In New York the clock goes from 2:00 to 3:00 on 8 March: an hour less of the night.
        ("20:00-08:00", "America/New_York", "2026-03-08T00:00:00-05:00", "2026-03-08T08:00:00-04:00"),
        # The end falls into the hour that is left out: quiet ends when the clock jumps over it.
        ("20:00-02:30", "America/New_York", "2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00"),
        # The begin does, and an hour of 2:15 to 2:45 never comes.
        ("02:15-02:45", "America/New_York", "2026-03-08T03:00:00-04:00", "2026-03-08T03:00:00-04:00"),
        # All that is not quiet is left out: the next day.
        ("03:00-02:30", "America/New_York", "2026-03-08T01:00:00-05:00", "2026-03-09T02:30:00-04:00"),
        # On 1 November it goes from 2:00 back to 1:00: an end at 1:30 comes twice, and so does the quiet before it.
        ("20:00-01:30", "America/New_York", "2026-11-01T00:30:00-04:00", "2026-11-01T01:30:00-04:00"),
        ("20:00-01:30", "America/New_York", "2026-11-01T01:10:00-05:00", "2026-11-01T01:30:00-05:00"),
        ("01:45-08:00", "America/New_York", "2026-11-01T01:50:00-04:00", "2026-11-01T01:00:00-05:00"),
        # Lord Howe changes by half an hour; Samoa left out a whole day.
        ("20:00-02:15", "Australia/Lord_Howe", "2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00"),
        ("20:00-08:00", "Pacific/Apia", "2011-12-29T23:00:00-10:00", "2011-12-31T08:00:00+14:00"),
    ],
)  # fmt: skip
def test_quiet_ends_when_the_customers_clock_says(span: str, zone: str, moment: str, end: str) -> None:
    assert quiet(span, zone).end_after(utc(moment)) == utc(end)


_times = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@examples(max_examples=300, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(1972, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    begin=_times,
    end=_times,
)
@example(zone="America/New_York", moment=utc("2026-03-08T06:59:00+00:00"), begin=time(20), end=time(2, 30))
@example(zone="America/New_York", moment=utc("2026-11-01T05:59:30+00:00"), begin=time(1, 15), end=time(1, 10))
@example(zone="Africa/Casablanca", moment=utc("2026-02-15T01:30:00+00:00"), begin=time(2, 1), end=time(2, 0))
def test_what_is_put_off_lands_on_the_first_moment_that_is_not_quiet(
    zone: str, moment: datetime, begin: time, end: time
) -> None:
    hours = QuietHours(begin, end, time_zone(zone))

    found = hours.end_after(moment)

    assert found >= moment and not hours.covers(found)
    if not hours.covers(moment):
        assert found == moment
        return
    assert found - moment <= timedelta(days=3)
    # Nothing before it was allowed: not one minute, and not the second before it.
    assert hours.covers(found - timedelta(microseconds=1))
    looked = moment
    while looked < found:
        assert hours.covers(looked), f"{looked} was allowed, and {found} is later"
        looked += MINUTE


@pytest.mark.parametrize(
    "text", ["", "20-8", "25:00-08:00", "20:00", "20:00-08:00-09:00", "20:60-08:00", "٢٠:٠٠-٠٨:٠٠"]
)
def test_a_span_is_two_times_of_day(text: str) -> None:
    with pytest.raises(ValueError, match="expected two times of day such as 20:00-08:00"):
        parse_span(text)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe", "a" * 300, "UTC\x00"]
)
def test_a_time_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a time zone's name such as America/Chicago"):
        time_zone(name)
