"""Calls without agents for them are told; a fit scenario is silent."""

from __future__ import annotations

from ivr.queues.scenario_lint import scenario_warnings
from tests.queues.test_experiment import TEXT, scenario


def test_a_fit_scenario_has_no_warnings() -> None:
    assert scenario_warnings(scenario()) == ()


def test_too_many_calls_are_told_with_their_hours() -> None:
    (first, second) = scenario_warnings(scenario(TEXT.replace("a_day: 120", "a_day: 400")))
    assert first.startswith(
        "social_security, 09:00 to 11:00: calls keep 6.7 agents busy and 3 agents"
    )
    assert second.startswith("general, 09:00 to 11:00")


def test_calls_while_nobody_works_are_told() -> None:
    text = TEXT.replace(
        'general, shifts: { "08:00-12:00": 3 }', 'general, shifts: { "08:00-10:30": 3 }'
    )
    (warning,) = scenario_warnings(scenario(text))
    assert warning.startswith("general, 10:30 to 11:00: calls keep 2.0 agents busy and no agent")
