"""The clock of replays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ivr.cli.clock import moment, working_morning
from ivr.cli.replay import command


@given(st.datetimes(datetime(2000, 1, 5), datetime(2100, 1, 1)))
def test_a_working_morning_lies_within_the_week(now: datetime) -> None:
    morning = working_morning(now.replace(tzinfo=ZoneInfo("Asia/Shanghai")))
    assert (morning.weekday(), morning.hour, morning.minute) == (1, 10, 0)
    assert abs(morning.replace(tzinfo=None) - now) < timedelta(days=7)


def test_the_time_is_that_of_the_zone() -> None:
    assert moment(datetime(2026, 11, 24, 10), "Asia/Shanghai") == datetime(
        2026, 11, 24, 2, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.wav", "--at", "tomorrow"], "does not match the formats"),
        (["x.wav", "--at", "2026-11-24 10:00", "--url", "ws://127.0.0.1:1"], "ivr serve"),
    ],
)
def test_bad_usage(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert message in result.output
