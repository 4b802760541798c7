"""Opening hours by the day of the week.

In ``config/queues.yaml``::

    hours: 24x7

or a mapping from days to spans; days that are not named are closed::

    hours:
      mon-fri: "08:30-12:00, 14:00-18:00"
      sat,sun: "22:00-02:00"      # until two o'clock of the next day
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import groupby, pairwise

__all__ = ["ALWAYS", "DAYS", "HoursFault", "OpeningHours", "parse_hours"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALWAYS = "24x7"

_DAY_MIN = 24 * 60
_TIME = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_DASHES = str.maketrans("‐‑–—−~", "------")
_MEND = 'write for example mon-fri: "08:30-18:00", or hours: 24x7'

Span = tuple[int, int]  # minutes from midnight, the second exclusive, over 1440 past midnight


@dataclass(frozen=True, slots=True)
class HoursFault:
    """One thing that is wrong; ``key`` is the entry of the mapping, None for the whole."""

    key: str | None
    what: str
    mend: str = _MEND


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """When a queue is open. ``week`` has the spans of each day, Monday first."""

    week: tuple[tuple[Span, ...], ...]
    zone: tzinfo | None = None  # the clock on the wall of the centre

    @property
    def always(self) -> bool:
        """True where the queue never closes."""
        return all(spans == ((0, _DAY_MIN),) for spans in self.week)

    def is_open(self, when: datetime) -> bool:
        """Whether the queue is open at ``when``.

        A datetime with a time zone is first turned into the centre's own; one without is
        taken as the clock on the centre's wall.
        """
        local = self._local(when)
        minute = local.hour * 60 + local.minute
        today, yesterday = self.week[local.weekday()], self.week[local.weekday() - 1]
        return any(start <= minute < end for start, end in today) or any(
            minute + _DAY_MIN < end for _, end in yesterday
        )

    def next_opening(self, when: datetime) -> datetime | None:
        """The next opening after ``when`` (centre's time), None while the queue is open."""
        if self.is_open(when):
            return None
        local = self._local(when)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for ahead in range(8):
            day = midnight + timedelta(days=ahead)
            for start, _ in self.week[day.weekday()]:
                opening = day + timedelta(minutes=start)
                if opening > local:
                    return opening
        return None

    def _local(self, when: datetime) -> datetime:
        return when.astimezone(self.zone) if when.tzinfo and self.zone else when

    def __str__(self) -> str:
        if self.always:
            return ALWAYS
        runs = groupby(range(7), key=lambda day: self.week[day])
        parts = [(list(days), spans) for spans, days in runs if spans]
        return "; ".join(f"{_day_range(days)} {_show(spans)}" for days, spans in parts)


def _day_range(days: list[int]) -> str:
    return DAYS[days[0]] if len(days) == 1 else f"{DAYS[days[0]]}-{DAYS[days[-1]]}"


def _show(spans: tuple[Span, ...]) -> str:
    return ", ".join(f"{_clock(start)}-{_clock(end)}" for start, end in spans)


def _clock(minute: int) -> str:
    shown = minute if minute <= _DAY_MIN else minute - _DAY_MIN
    return f"{shown // 60:02}:{shown % 60:02}"


def parse_hours(
    value: object, *, zone: tzinfo | None = None
) -> tuple[OpeningHours | None, tuple[HoursFault, ...]]:
    """Opening hours from the configuration's ``value``: ``"24x7"`` or a mapping.

    Returns the hours, or None with every fault that was found.
    """
    if isinstance(value, str) and _plain(value) == ALWAYS:
        return OpeningHours((((0, _DAY_MIN),),) * 7, zone), ()
    if not isinstance(value, Mapping):
        return None, (HoursFault(None, _not_hours(value)),)
    return _parse_week(value, zone)


def _not_hours(value: object) -> str:
    shown = f": {value[:30]!r}" if isinstance(value, str) else ""
    return f"these are no opening hours{shown}"


def _parse_week(
    value: Mapping[object, object], zone: tzinfo | None
) -> tuple[OpeningHours | None, tuple[HoursFault, ...]]:
    week: dict[int, tuple[Span, ...]] = {}
    faults: list[HoursFault] = []
    for key, text in value.items():
        try:
            days, spans = _parse_days(str(key)), _parse_spans(text)
        except ValueError as error:
            faults.append(HoursFault(str(key), str(error)))
            continue
        for day in days:
            if day in week:
                what = f"{DAYS[day]} is named twice"
                faults.append(HoursFault(str(key), what, "name each day once"))
            week[day] = spans
    if not faults and not any(week.values()):
        faults.append(HoursFault(None, "the queue is never open"))
    if faults:
        return None, tuple(faults)
    return OpeningHours(tuple(week.get(day, ()) for day in range(7)), zone), ()


def _plain(text: str) -> str:
    """Full-width signs and the many dashes as ASCII, lower case."""
    return unicodedata.normalize("NFKC", text).translate(_DASHES).strip().lower()


def _parse_days(key: str) -> list[int]:
    days: list[int] = []
    for part in _plain(key).split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{key[:30]!r} is no day (mon tue wed thu fri sat sun)")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        days += range(start, end + 1) if start <= end else [*range(start, 7), *range(end + 1)]
    return days


def _parse_spans(value: object) -> tuple[Span, ...]:
    if not isinstance(value, str):
        raise ValueError("the times must be text in quotation marks")
    text = _plain(value)
    if text == "closed":
        return ()
    spans = sorted(_spans(text))
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise ValueError(f"the times in {value[:40]!r} overlap")
    return tuple(spans)


def _spans(text: str) -> Iterator[Span]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = _minute(first.strip()), _minute(last.strip())
        if start is None or end is None or start == _DAY_MIN:
            raise ValueError(f"{part.strip()[:30]!r} is no span of time")
        if start == end:
            raise ValueError(f"{part.strip()!r} begins and ends at the same time")
        yield start, end if end > start else end + _DAY_MIN


def _minute(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if not found:
        return None
    hour, minute = int(found[1]), int(found[2])
    if minute > 59 or hour > 24 or (hour == 24 and minute):
        return None
    return hour * 60 + minute
