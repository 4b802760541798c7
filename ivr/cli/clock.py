"""The option ``--at``: opening hours by a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import click

__all__ = ["FORMATS", "at_option", "moment", "working_morning"]

FORMATS = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]
_TUESDAY, _TEN = 1, 10


def at_option(otherwise: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option, with what holds where it is not given."""
    return click.option(
        "--at",
        type=click.DateTime(FORMATS),
        help=f"Opening hours as at this moment, YYYY-MM-DD HH:MM; {otherwise}.",
    )


def moment(at: datetime, zone: str) -> datetime:
    """The moment given with ``--at`` by the clock of the catalogue's time zone."""
    return at.replace(tzinfo=ZoneInfo(zone))


def working_morning(now: datetime) -> datetime:
    """Ten o'clock on Tuesday of the week of ``now``: when offices are open."""
    tuesday = now + timedelta(days=_TUESDAY - now.weekday())
    return tuesday.replace(hour=_TEN, minute=0, second=0, microsecond=0)
