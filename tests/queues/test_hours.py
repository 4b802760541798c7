"""Opening hours: days, spans, midnight, time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.queues.hours import DAYS, OpeningHours, parse_hours

MONDAY = datetime(2025, 1, 6)


def hours(value: object) -> OpeningHours:
    parsed, faults = parse_hours(value, zone=ZoneInfo("Asia/Shanghai"))
    assert parsed is not None, faults
    return parsed


def at(day: int, clock: str) -> datetime:
    hour, minute = clock.split(":")
    return MONDAY + timedelta(days=day, hours=int(hour), minutes=int(minute))


def test_always_open():
    always = hours("24x7")
    assert always.always
    assert str(always) == "24x7"
    assert all(always.is_open(MONDAY + timedelta(hours=hour)) for hour in range(0, 170, 7))


@pytest.mark.parametrize(
    ("day", "clock", "is_open"),
    [
        (0, "08:29", False),
        (0, "08:30", True),
        (0, "11:59", True),
        (0, "12:00", False),
        (0, "14:00", True),
        (4, "17:59", True),
        (4, "18:00", False),
        (5, "10:00", False),
        (6, "10:00", False),
    ],
)
def test_spans_begin_at_their_minute_and_end_before_it(day: int, clock: str, is_open: bool):
    office = hours({"mon-fri": "08:30-12:00, 14:00-18:00"})
    assert office.is_open(at(day, clock)) is is_open


def test_a_span_past_midnight_lasts_into_the_next_day():
    night = hours({"sun": "22:00-02:00"})
    assert night.is_open(at(6, "23:30"))
    assert night.is_open(at(7, "01:59"))  # Monday
    assert not night.is_open(at(7, "02:00"))
    assert not night.is_open(at(6, "01:00"))


def test_a_time_elsewhere_is_taken_on_the_clock_of_the_centre():
    office = hours({"mon-fri": "08:30-18:00"})
    assert office.is_open(datetime(2025, 1, 6, 0, 30, tzinfo=UTC))  # 08:30 in Guangzhou
    assert not office.is_open(datetime(2025, 1, 6, 10, 0, tzinfo=UTC))


def test_next_opening():
    office = hours({"mon-fri": "08:30-18:00"})
    assert office.next_opening(at(4, "18:00")) == at(7, "08:30")
    assert office.next_opening(at(0, "08:29")) == at(0, "08:30")
    assert office.next_opening(at(0, "09:00")) is None
    once = hours({"mon": "08:00-09:00"})
    assert once.next_opening(at(0, "09:00")) == at(7, "08:00")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"mon-fri": "08:30-18:00", "sat": "9:00-12:00"}, "mon-fri 08:30-18:00; sat 09:00-12:00"),
        ({"Mon–Fri": "08：30－18：00", "sun": "closed"}, "mon-fri 08:30-18:00"),
        ({"sat,sun": "22:00-02:00"}, "sat-sun 22:00-02:00"),
        ({"fri-mon": "00:00-24:00"}, "mon 00:00-24:00; fri-sun 00:00-24:00"),
        ({"mon-sun": "00:00-24:00"}, "24x7"),
    ],
)
def test_hours_are_shown_as_they_are_written(value: object, shown: str):
    assert str(hours(value)) == shown


@pytest.mark.parametrize(
    ("value", "key", "what"),
    [
        ("always", None, "no opening hours: 'always'"),
        (True, None, "no opening hours"),
        ({}, None, "never open"),
        ({"mon": "closed"}, None, "never open"),
        ({"monday": "08:00-09:00"}, "monday", "no day"),
        ({"mon-": "08:00-09:00"}, "mon-", "no day"),
        ({"mon": "8-9"}, "mon", "no span"),
        ({"mon": "08:00-25:00"}, "mon", "no span"),
        ({"mon": "08:60-09:00"}, "mon", "no span"),
        ({"mon": "08:00-08:00"}, "mon", "same time"),
        ({"mon": "08:00-12:00, 11:00-13:00"}, "mon", "overlap"),
        ({"mon": 510}, "mon", "quotation marks"),
        ({"mon-wed": "08:00-09:00", "wed": "10:00-11:00"}, "wed", "named twice"),
    ],
)
def test_wrong_hours_are_told(value: object, key: str | None, what: str):
    parsed, faults = parse_hours(value)
    assert parsed is None
    assert [(fault.key, what in fault.what) for fault in faults] == [(key, True)]


@given(
    st.one_of(
        st.text(max_size=12), st.dictionaries(st.text(max_size=8), st.text(max_size=15), max_size=3)
    )
)
@settings(max_examples=100, deadline=None)
def test_anything_is_hours_or_told(value: object):
    parsed, faults = parse_hours(value)
    assert (parsed is None) == bool(faults)


@given(
    st.sampled_from(DAYS),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.integers(0, 7 * 1440 - 1),
)
@settings(max_examples=100, deadline=None)
def test_next_opening_is_the_next_minute_that_is_open(day: str, start: int, length: int, now: int):
    end = (start + length) % 1440
    if end == start:
        end, start = 1440, 0
    span = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    parsed = hours({day: span})
    when = MONDAY + timedelta(minutes=now)
    opening = parsed.next_opening(when)
    if opening is None:
        assert parsed.is_open(when)
    else:
        assert parsed.is_open(opening)
        assert not parsed.is_open(opening - timedelta(minutes=1))
        assert when < opening <= when + timedelta(days=7)
